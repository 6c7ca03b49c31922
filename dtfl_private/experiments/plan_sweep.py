"""A sweep without training: the schedules of all runs of a preset with a table ``[plan]``, several at once.

A line, which is all values of ``x`` with all seeds, is planned by one process and leaves NAME.json; what is there is
not planned again.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.plan_table import PlanTable, Told
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.setup.input_shape import parse_shape
from dtfl_private.experiments.setup.named_plugins import make_chain
from dtfl_private.files import reading
from dtfl_private.files.writing import output_path, write_atomic
from dtfl_private.models.build import build_description
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.report.plan_sweep import PlanPoint, PlanSweep
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import choose_device, choose_workers
from dtfl_private.runtime.jobs import Ended, Report, Reported, run_jobs

LARGEST_LINE_BYTES = 2**24


class _Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: float | int | str
    seed: int
    time_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    regret: Annotated[float, Field(ge=-1, allow_inf_nan=False)]
    tier_accuracy: Annotated[float, Field(ge=0, le=1)]
    speedup: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class _LineFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    asked: str
    points: list[_Point]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The runs of one line of a picture, and their values of what varies, but for ``x`` and the seed."""

    name: str
    values: Mapping[str, Any]
    runs: Sequence[tuple[TrainConfig, Told]]

    @property
    def rounds(self) -> int:
        """Rounds of all runs."""
        return sum(config.rounds for config, _ in self.runs)

    def asked(self, table: PlanTable) -> str:
        """Return a hash of all that its figures depend on."""
        request = [table.model_dump(mode="json"), *(config.model_dump(mode="json") for config, _ in self.runs)]
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def sweep_plans(
    title: str,
    runs: Sequence[PlannedRun],
    table: PlanTable,
    out: Path | str,
    *,
    parallel: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> PlanSweep:
    """Plan all runs that have not been planned yet, and return the figures of all.

    Args:
        title: what they show.
        runs: of the preset.
        table: what is told in place of data, and how figures are arranged.
        out: folder of the sweep; what is there already is gone on with.
        parallel: lines at once, each in a one-thread process; by default one per core.
        callbacks: hear how the sweep proceeds.

    Raises:
        InputError: the folder holds lines of the same names of another preset, or cannot be written.
        RunError: a run cannot be planned.
    """
    folder, lines = output_path(out), _lines(runs, table)
    done = {line.name: _read(folder, line, table) for line in lines}
    waiting = [line for line in lines if done[line.name] is None]
    with told(callbacks) as listener:
        _announce(lines, waiting, listener)
        _plan_all(waiting, table, folder, parallel, listener)
    points = [
        PlanPoint(values={**line.values, table.x: point.x}, **point.model_dump(exclude={"x"}))
        for line in lines
        for point in done[line.name] or _read(folder, line, table) or ()
    ]
    return PlanSweep(
        title=title,
        x=table.x,
        reference=table.reference,
        panels=(table.panels[0], table.panels[1]),
        points=points,
        against=table.against,
    )


def _lines(runs: Sequence[PlannedRun], table: PlanTable) -> list[_Line]:
    pairs = [(run.config, given) for run in runs for given in table.told]
    keys = table.varying([run.config for run in runs])
    values = [table.values(*one, keys) for one in pairs]
    axes = (table.x, *table.panels)
    apart = [key for key in keys if key in table.panels or not any(_goes_with(key, axis, values) for axis in axes)]
    by_name: dict[str, list[int]] = {}
    for number, own in enumerate(values):
        by_name.setdefault("-".join(f"{key}{own[key]}" for key in apart), []).append(number)
    return [
        _Line(
            name=_fit(name),
            values={key: _shown(values[numbers[0]][key]) for key in apart},
            runs=[pairs[number] for number in numbers],
        )
        for name, numbers in by_name.items()
    ]


def _goes_with(key: str, axis: str, values: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the value of an axis says what the key's is, in all runs."""
    pairs = {(_shown(own[axis]), _shown(own[key])) for own in values}
    return len(pairs) == len({value for value, _ in pairs})


def _shown(value: object) -> object:
    """Return the value of a key as figures are told apart by it: lists, of defenses say, as texts."""
    return value if isinstance(value, str | int | float) else str(value)


def _fit(name: str) -> str:
    """Return a name that is fit for a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name) or "line"


def _read(folder: Path, line: _Line, table: PlanTable) -> list[_Point] | None:
    """Return a line that was planned before; None if it was not.

    Raises:
        InputError: it cannot be read, or is of another preset.
    """
    path = folder / f"{line.name}.json"
    if not path.exists():
        return None
    try:
        file = _LineFile.model_validate(reading.read_json(path, most_bytes=LARGEST_LINE_BYTES))
    except (OSError, ValueError) as error:
        why = "it is none" if isinstance(error, ValidationError) else reading.reason(error)
        raise InputError(f"line '{path}' of a sweep cannot be read: {why}: remove it") from None
    if file.asked != line.asked(table) or len(file.points) != len(line.runs):
        raise InputError(f"sweep folder '{folder}' has a line '{line.name}' of another preset: choose another --out")
    return file.points


def _announce(lines: Sequence[_Line], waiting: Sequence[_Line], listener: Callback) -> None:
    if len(waiting) < len(lines):
        listener.note(f"{len(lines) - len(waiting)} of {number_of(len(lines), 'line')} had been planned before")
    rounds = [line.rounds for line in waiting]
    listener.jobs_announced([line.name for line in waiting], rounds)


def _plan_all(
    waiting: Sequence[_Line], table: PlanTable, folder: Path, parallel: int | None, listener: Callback
) -> None:
    """Plan lines, and raise `RunError` for the first that fails."""
    failed: list[str] = []

    def on_event(event: Reported | Ended) -> None:
        line = waiting[event.job]
        if isinstance(event, Reported):
            planned = event.what
            assert isinstance(planned, int)
            if planned == 0:
                listener.job_started(line.name)
            listener.job_advanced(line.name, planned, line.rounds)
            return
        if event.error is not None:
            failed.append(f"'{line.name}': {event.error}")
        listener.job_finished(line.name, error=event.error)

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"sweep folder '{folder}' cannot be made: {error}") from None
    if waiting:
        processes = parallel or choose_workers(None, choose_device("cpu"), len(waiting))
        run_jobs(partial(_plan_line, table, folder), waiting, processes, on_event)
    if failed:
        raise RunError(f"{number_of(len(failed), 'line')} failed; {failed[0]}; the same command goes on with them")


def _plan_line(table: PlanTable, folder: Path, line: _Line, report: Report) -> None:
    """Plan all runs of a line and write its file; this is what a process does."""
    points, rounds = [], 0
    report(rounds)
    networks = _Networks(table)
    for config, given in line.runs:
        points.append(_point(config, given, table, networks.of(config, given)))
        rounds += config.rounds
        report(rounds)
    file = _LineFile(asked=line.asked(table), points=points)
    write_atomic(folder / f"{line.name}.json", (file.model_dump_json(indent=1) + "\n").encode())


class _Networks:
    """The networks of a line, described once each: that takes longer than many rounds."""

    def __init__(self, table: PlanTable) -> None:
        self._table = table
        self._known: dict[tuple[Told, str, str], StagedModel] = {}

    def of(self, config: TrainConfig, given: Told) -> StagedModel:
        """Return the network of a run."""
        norm = resolved_norm(config, make_chain(config))
        asked = (given, config.model, norm)
        if asked not in self._known:
            self._known[asked] = build_description(
                given.model(config.model),
                input_shape=parse_shape(given.input_shape),
                classes=self._table.classes,
                norm=norm,
                seed=config.seed,
                allowed=config.allowed,
            )
        return self._known[asked]


def _point(config: TrainConfig, given: Told, table: PlanTable, network: StagedModel) -> _Point:
    planning = partial(
        plan,
        input_shape=parse_shape(given.input_shape),
        classes=table.classes,
        images_per_client=table.images_per_client,
        model=network,
    )
    planned = planning(config)
    regret, accuracy = planned.regret(planned.virtual_time_s), planned.tier_accuracy
    if regret is None or accuracy is None:
        raise InputError(f"method {config.method} leaves no choice of tiers: a planned sweep is about it")
    other = None if table.against is None else planning(config.model_copy(update={"method": table.against}))
    return _Point(
        x=table.values(config, given, [table.x])[table.x],
        seed=config.seed,
        time_s=planned.virtual_time_s,
        regret=regret,
        tier_accuracy=accuracy,
        speedup=None if other is None else other.virtual_time_s / planned.virtual_time_s,
    )
