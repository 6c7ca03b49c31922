"""Train at full size on one GPU: the table of docs/reference/benchmarks.md, in one call of at most nine minutes.

ResNet-56 (bottleneck blocks), ten clients (IID), batch 100, bf16, the paper's five profiles in its own reading of
"Mbps"; CIFAR-10 where --data-dir holds it, else all of Fashion-MNIST. The methods take turns: one round of each to see
what it costs, then as many rounds as fit into the time, for all of them the same number. Every round is on the disk at
once, in the run folder and in results.json: a call that is killed loses the round under way, and a further call with
the same --out goes on.

    python -m benchmarks.full_size [--seconds 540] [--out full-size] [--data-dir DIR] [--seed 0] [--only dtfl,fedavg]
    python -m benchmarks.full_size --table full-size/results.json
    python -m benchmarks.full_size --size tiny --device cpu     a trial of a minute, without a GPU
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from benchmarks.full_size_results import Measured, all_methods, load_results, markdown, save_results
from dtfl_private import DtflError, InputError, RunError, TrainConfig, train
from dtfl_private.data.cifar import CIFAR10_FACTS
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import choose_device
from dtfl_private.training.round_record import Record

METHODS = ("dtfl", "dtfl-full", "dtfl-shared", "fedavg", "splitfed-v2")
MOST_ROUNDS = 200
SIZES: dict[str, dict[str, object]] = {
    "full": {"model": "resnet-56", "batch_size": 100},
    "tiny": {"model": "resnet-8", "batch_size": 10, "dataset": "digits", "max_train_images": 200},
}
COMMON = {"clients": 10, "precision": "bf16", "link_unit": "mbyte", "drift_share": 0.3, "drift_every": 50}

RESERVE_S = 30.0
"""Of the time, what is kept for the start of Python and torch and for the end."""

SHARE = 0.85
"""Of the time that is left, what a lap may take by what rounds have taken so far; the next lap knows it better."""


class PausedError(RunError):
    """A run has as many rounds as it was to have for now; all of them are on the disk."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a method costs: seconds to set up a run or to open it again, and seconds of a round."""

    start_s: float
    round_s: float


@dataclass
class Lap(Callback):
    """Hears a method's rounds in one lap, and pauses the run after round ``until``, or when the time is up.

    Attributes:
        until: the last round of this lap.
        deadline_s: on the clock of `time.monotonic`.
        on_round: called with the record of each finished round.
        begun_s: when the lap began.
        ended_s: when each of its rounds was on the disk.
        computed_s: what each of them took, without the writing.
    """

    until: int
    deadline_s: float
    on_round: Callable[[Record], None]
    begun_s: float = field(default_factory=time.monotonic)
    ended_s: list[float] = field(default_factory=list)
    computed_s: list[float] = field(default_factory=list)

    def round_finished(self, record: Record) -> None:
        """Note the time and pass the record on."""
        self.ended_s.append(time.monotonic())
        self.computed_s.append(record["wall_time_s"])
        self.on_round(record)
        if record["round"] >= self.until or self.ended_s[-1] >= self.deadline_s:
            raise PausedError

    @property
    def pace(self) -> Pace:
        """What the method costs by this lap, which had one round at least."""
        first_s, last_s = self.ended_s[0], self.ended_s[-1]
        several = len(self.ended_s) > 1
        round_s = (last_s - first_s) / (len(self.ended_s) - 1) if several else self.computed_s[0]
        return Pace(start_s=max(0.0, first_s - self.begun_s - self.computed_s[0]), round_s=round_s)


def rounds_that_fit(left_s: float, paces: Sequence[Pace]) -> int:
    """Return how many rounds of each method fit into a share of the time that is left."""
    spare_s = SHARE * left_s - sum(pace.start_s for pace in paces)
    return max(0, int(spare_s / max(1e-9, sum(pace.round_s for pace in paces))))


def run_config(size: str, method: str, seed: int, device: str, data_dir: Path | None) -> TrainConfig:
    """Return a method's configuration; the data set is CIFAR-10 where it is, unless the size names another."""
    found = "cifar-10" if CIFAR10_FACTS.look(data_dir) else "fashion-mnist"
    place = {} if data_dir is None or "dataset" in SIZES[size] else {"data_dir": data_dir}
    values = {"dataset": found, **COMMON, **SIZES[size], **place, "method": method, "seed": seed, "device": device}
    return TrainConfig.model_validate({**values, "rounds": MOST_ROUNDS})


@dataclass(kw_only=True)
class Contest:
    """The methods of one call, which take turns.

    Attributes:
        configs: of the methods, by name.
        folder: of their runs and of results.json.
        deadline_s: on the clock of `time.monotonic`.
        most_rounds: of each method.
        paces: what the methods cost, by name, as far as it is known.
        failed: why a method could not go on, by name.
        peaks: the most memory on the GPU in this call, bytes, by name.
    """

    configs: dict[str, TrainConfig]
    folder: Path
    deadline_s: float
    most_rounds: int
    say: Callable[[str], None]
    paces: dict[str, Pace] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    def hold(self) -> None:
        """Go on lap by lap until no further round of all methods fits."""
        done = {self.done(method) for method in self.configs}
        until = max(done) + 1 if len(done) == 1 else max(done)  # who was left behind by an earlier call catches up
        while until <= self.most_rounds:
            for method in self.running:
                if self.done(method) < until and time.monotonic() < self.deadline_s:
                    self.lap(method, until)
            more = self._further_rounds()
            if not more or until == self.most_rounds:
                return
            until = min(until + more, self.most_rounds)

    def _further_rounds(self) -> int:
        """Return how many rounds of each method the next lap may have; 0 if none fits."""
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0 or not self.running:
            return 0
        paces = [self.paces[method] for method in self.running if method in self.paces]
        return rounds_that_fit(left_s, paces) if len(paces) == len(self.running) else 1

    @property
    def running(self) -> list[str]:
        """The methods that have not failed."""
        return [method for method in self.configs if method not in self.failed]

    def done(self, method: str) -> int:
        """Return how many rounds of a method are on the disk."""
        return len(self.records(method))

    def records(self, method: str) -> list[Record]:
        """Return the finished rounds of a method."""
        folder = self.run_folder(method)
        return read_records(folder)[0] if folder.rounds.is_file() else []

    def run_folder(self, method: str) -> RunFolder:
        """Return where the run of a method is or will be."""
        return RunFolder(path=self.folder / method)

    def lap(self, method: str, until: int) -> None:
        """Train a method up to a round; a failure is noted, and the others go on."""
        lap = Lap(until=until, deadline_s=self.deadline_s, on_round=lambda record: self._finished(method, record))
        on_gpu = self.configs[method].device == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        try:
            train(self.configs[method], out=self.run_folder(method).path, resume=True, callbacks=[lap])
        except PausedError:
            pass
        except InputError:
            raise
        except Exception as error:  # whatever CUDA raises: the others' rounds are worth having
            self.failed[method] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.say(f"{method} failed: {self.failed[method]}")
        if on_gpu:
            self.peaks[method] = max(self.peaks.get(method, 0), torch.cuda.max_memory_allocated())
        if lap.ended_s:
            self.paces[method] = lap.pace
        self.write()

    def _finished(self, method: str, record: Record) -> None:
        accuracy, seconds = record["test_accuracy"], record["wall_time_s"]
        self.say(f"{method}: round {record['round']}, accuracy {accuracy:.4f}, {seconds:.1f} s")
        self.write()

    def write(self) -> None:
        """Write results.json anew."""
        found = [
            Measured(
                method=method,
                folder=self.run_folder(method),
                records=records,
                peak_gpu_bytes=self.peaks.get(method),
                error=self.failed.get(method),
            )
            for method in self.configs
            if (records := self.records(method)) or method in self.failed
        ]
        save_results(self.folder / "results.json", self.configs, found)


def contest(
    folder: Path, only: str, seed: int, device: str, size: str, data_dir: Path | None, **limits: Any
) -> Contest:
    """Return the methods of a call, once everything about it is known to be right.

    Raises:
        InputError: an unknown method, or a device that is not here.
    """
    methods = only.split(",")
    if unknown := [method for method in methods if method not in METHODS]:
        raise InputError(f"--only {unknown[0]}: choose among {', '.join(METHODS)}")
    choose_device("cuda" if device == "cuda" else "cpu")
    configs = {method: run_config(size, method, seed, device, data_dir) for method in methods}
    folder.mkdir(parents=True, exist_ok=True)
    return Contest(configs=configs, folder=folder, **limits)


@click.command()
@click.option("--seconds", default=540.0, type=click.FloatRange(min=1), show_default=True, help="of this call")
@click.option(
    "--rounds",
    default=MOST_ROUNDS,
    type=click.IntRange(min=1),
    show_default=True,
    help="rounds of each method at most, in all calls",
)
@click.option("--out", default="full-size", show_default=True, help="folder of the runs; one that is there goes on")
@click.option("--data-dir", type=click.Path(path_type=Path), help="folder of CIFAR-10, or of Fashion-MNIST")
@click.option("--seed", default=0, type=click.IntRange(min=0), show_default=True)
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--size", type=click.Choice(list(SIZES)), default="full", show_default=True)
@click.option("--only", default=",".join(METHODS), show_default=True, help="methods")
@click.option("--table", metavar="JSON", help="print the table of the docs from a results.json, and do nothing else")
def main(seconds: float, rounds: int, out: str, table: str | None, **settings: Any) -> None:
    """Train the methods in turns, and print what came of it."""
    began_s = time.monotonic()
    if table is not None:
        click.echo(markdown(load_results(Path(table))))
        return
    console = Console(width=160)
    held = contest(
        Path(out),
        **settings,
        deadline_s=began_s + seconds - min(RESERVE_S, seconds / 10),
        most_rounds=min(rounds, MOST_ROUNDS),
        say=lambda line: console.print(line, highlight=False, soft_wrap=True),
    )
    held.hold()
    results = load_results(Path(out, "results.json"))
    click.echo(markdown(results))
    if held.failed or not all_methods(results, list(held.configs)):
        sys.exit(1)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command; wrong input is answered in one line, with exit status 2."""
    try:
        main.main(args=arguments, standalone_mode=True)
    except DtflError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    run()
