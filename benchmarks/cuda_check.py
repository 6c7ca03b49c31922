"""Check trainings, attacks and an audit on a GPU against the CPU, before hours are spent.

Short runs on digits, plain SGD. A run on the device must end near the same run on the CPU in fp32: the distance
between their weights, relative to how far training moved them, is at most 0.05 in fp32 (cuDNN may use TF32) and 0.5 in
bf16; two runs that have nothing in common are about 1.4 apart. Runs whose defenses draw noise on the device have other
noise there, and must only go through.

    python -m benchmarks.cuda_check [--device cuda] [--images 200] [--methods dtfl,fedavg] [--only train,resume]
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import safetensors.torch
import torch
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import AttackConfig, AuditConfig, InputError, Run, RunError, TrainConfig, attack, audit, train
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.protocol.messages import State
from dtfl_private.report.tables.audit import sanity_line
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import choose_device
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.round_record import Record

METHODS = ("dtfl", "dtfl-shared", "fedavg", "splitfed-v2", "fedgkt")
DEFENDED = ("gaussian-noise:sd=0.1", "dp-weights:epsilon=8", "update-noise:sd=0.001")
# Rounding tells values apart that the devices compute all but equal: these must only go through, too.
THIN: Mapping[str, Mapping[str, object]] = {
    "dtfl-shared:merge=2": {"wire": "int4", "send_every": 2},
    "dtfl": {"wire": "scheduled"},
    "splitfed-v2": {"wire": "int8"},
}
ATTACKS = (
    *("decoder:size=small,steps=100", "optimization:steps=50", "hybrid:size=small,decoder_steps=100,steps=50"),
    *("update-inversion:steps=30", "membership-matching"),
)
FARTHEST = {"fp32": 0.05, "bf16": 0.5}
FARTHEST_RESUMED = 0.01
"""Of a resumed run from an uninterrupted one: the same kernels, some of which sum in any order."""
ACCURACY_APART = 0.02
"""Of a model that is judged on the device and on the CPU."""


class FailedError(Exception):
    """A check found something else than was expected."""


class PausedError(RunError):
    """The run was to be interrupted here."""


class PauseAfterRound(Callback):
    """Interrupts a training after its first round."""

    def round_finished(self, record: Record) -> None:
        """Interrupt it."""
        raise PausedError


@dataclass(kw_only=True)
class Checks:
    """The checks on one device.

    Attributes:
        device: that is checked.
        folder: for runs.
        images: training images of a run.
        methods: to train by.
        attacks: to mount on a run.
        references: weights before and after the CPU's run, by method.
    """

    device: str
    folder: Path
    images: int
    methods: tuple[str, ...]
    attacks: tuple[str, ...]
    references: dict[str, tuple[State, State]] = field(default_factory=dict)

    def all(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield each check's name and the check, which returns what it found or raises."""
        for method in self.methods:
            for precision in FARTHEST:
                yield f"train {method} in {precision}", partial(self.near_the_cpu, method, precision)
        for defense in DEFENDED:
            yield f"train with {defense}", partial(self.through, "dtfl", {"defense": [defense]})
        for method, settings in THIN.items():
            yield f"train {method} with wire {settings['wire']}", partial(self.through, method, settings)
        yield "resume", self.resumed
        yield "model on the CPU", self.judged_on_the_cpu
        for name in self.attacks:
            yield f"attack by {name.partition(':')[0]}", partial(self.attacked, name)
        yield "audit", self.audited

    def config(self, method: str, precision: str, device: str, **more: object) -> TrainConfig:
        """Return a run of two rounds, but for what is said otherwise."""
        data = {"dataset": "digits", "max_train_images": self.images, "clients": 4, "batch_size": 10, "rounds": 2}
        step = {"optimizer": "sgd", "lr": 0.05, "link_unit": "mbyte"}
        own = {"method": method, "precision": precision, "device": device}
        return TrainConfig.model_validate({**data, **step, **own, **more})

    def trained(self, name: str, config: TrainConfig) -> Run:
        """Train a run, or load it if it is there."""
        return train(config, out=self.folder / name, resume=True)

    def plain_run(self) -> Run:
        """Return an undefended run of the first method on the device."""
        method = self.methods[0]
        return self.trained(f"{method}-fp32-device", self.config(method, "fp32", self.device))

    def near_the_cpu(self, method: str, precision: str) -> str:
        """Compare a run on the device with the CPU's in fp32."""
        if method not in self.references:
            config = self.config(method, "fp32", "cpu")
            before = prepare(config).initial.weights.model
            self.references[method] = before, weights_of(self.trained(f"{method}-cpu", config))
        before, there = self.references[method]
        run = self.trained(f"{method}-{precision}-device", self.config(method, precision, self.device))
        return near(distance(before, there, weights_of(run)), FARTHEST[precision])

    def through(self, method: str, settings: Mapping[str, object]) -> str:
        """Train a round."""
        config = self.config(method, "fp32", self.device, **{**settings, "rounds": 1})
        run = train(config, out=Path(tempfile.mkdtemp(dir=self.folder), "run"))
        return f"accuracy {run.summary['final_accuracy']:.3f}"

    def resumed(self) -> str:
        """Interrupt a run after one round, go on, and compare it with the uninterrupted one."""
        whole = self.plain_run()
        config, out = self.config(self.methods[0], "fp32", self.device), self.folder / "resumed"
        with suppress(PausedError):
            train(config, out=out, callbacks=[PauseAfterRound()])
        again = train(config, out=out, resume=True)
        before = prepare(config).initial.weights.model
        return near(distance(before, weights_of(whole), weights_of(again)), FARTHEST_RESUMED)

    def judged_on_the_cpu(self) -> str:
        """Load the model that the device left on the CPU, and judge it there."""
        run = self.plain_run()
        prepared = prepare(self.config(self.methods[0], "fp32", "cpu"))
        judged = InProcess(prepared.worker).evaluate(weights_of(run))
        here, there = judged.correct / judged.images, run.records[-1]["test_accuracy"]
        if abs(here - there) > ACCURACY_APART:
            raise FailedError(f"accuracy {here:.3f} on the CPU, {there:.3f} on {self.device}")
        return f"accuracy {here:.3f}, there {there:.3f}"

    def attacked(self, name: str) -> str:
        """Mount an attack."""
        few = {"victims": 20, "aux_images": 100, "seeds": 1, "effort": "quick", "device": self.device}
        report = attack(self.plain_run(), AttackConfig.model_validate({"attacks": (name,), "tiers": (1,), **few}))
        found = report.verdicts[0].results[0]
        return f"{found.metric} {found.value:.3f}"

    def audited(self) -> str:
        """Audit a run at one tier, quickly.

        Raises:
            FailedError: its sanity checks did not pass, so that it attacked nothing.
        """
        few = {"victims": 20, "aux_images": 100, "seeds": 1, "effort": "normal", "measured": 100, "workers": 1}
        config = {"tiers": (1,), "attacks": ("optimization:steps=150", "membership-matching"), **few}
        done = audit(self.plain_run(), AuditConfig.model_validate({**config, "device": self.device}))
        if not done.findings.valid:
            raise FailedError(sanity_line(done.findings))
        return f"{len(done.findings.results)} results, sanity passed"


def weights_of(run: Run) -> State:
    """Return the global model that a run left."""
    weights: State = safetensors.torch.load_file(run.folder.model)
    return weights


def distance(before: State, one: State, other: State) -> float:
    """Return how far two trained states are apart, relative to how far the first one was moved by training."""

    def square(first: State, second: State) -> float:
        names = [name for name, tensor in first.items() if tensor.is_floating_point()]
        return sum(float((first[name].double() - second[name].double()).square().sum()) for name in names)

    return float((square(one, other) / square(before, one)) ** 0.5)


def near(found: float, farthest: float) -> str:
    """Return a distance in words.

    Raises:
        FailedError: it is too large, or not a number.
    """
    if not found <= farthest:
        raise FailedError(f"distance {found:.4f}, at most {farthest:g} is expected")
    return f"distance {found:.4f} of {farthest:g}"


def outcome(check: Callable[[], str]) -> tuple[bool, str]:
    """Return whether a check passed, and what it found: the first line of the error if it failed."""
    try:
        return True, check()
    except Exception as error:  # whatever CUDA raises is what is looked for
        lines = str(error).strip().splitlines() or [""]
        return False, f"{type(error).__name__}: {lines[0]}"


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--images", default=200, show_default=True, help="training images of each run")
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option("--attacks", default=";".join(ATTACKS), show_default=True, help="separated by semicolons")
@click.option("--only", default="", help="only checks whose name contains one of these, comma-separated")
def main(device: str, images: int, methods: str, attacks: str, only: str) -> None:
    """Print a table of what passed and failed; exit status 1 if anything failed."""
    try:
        choose_device("cuda" if device == "cuda" else "cpu")
    except InputError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)
    console = Console(width=160)
    table = plain_table(f"checks on {device}", "check", "passed", "found", "seconds", right=False)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        checks = Checks(
            device=device,
            folder=Path(scratch),
            images=images,
            methods=tuple(methods.split(",")),
            attacks=tuple(filter(None, attacks.split(";"))),
        )
        chosen = [(name, check) for name, check in checks.all() if any(part in name for part in only.split(","))]
        if not chosen:
            raise click.UsageError(f"--only {only}: none of {', '.join(name for name, _ in checks.all())}")
        for name, check in chosen:
            start_s = time.perf_counter()
            good, found = outcome(check)
            failed += not good
            console.print(as_printed(f"{name}: {'passed' if good else 'FAILED'}: {found}"), soft_wrap=True)
            table.add_row(name, "yes" if good else "NO", as_printed(found), f"{time.perf_counter() - start_s:.1f}")
    console.print(table)
    if device == "cuda":
        console.print(torch.cuda.get_device_name(), highlight=False)
    console.print(host_line(), soft_wrap=True, highlight=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
