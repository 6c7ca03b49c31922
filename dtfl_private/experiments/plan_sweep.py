"""A sweep without training: the schedules of all runs of a preset with a table ``[plan]``, several at once.

    [plan]
    input_shape = "3x32x32"           # what `plan` is told in place of data
    classes = 10
    images_per_client = 5000
    x = "ema"                         # a key of CONFIG.toml: the horizontal axis of the pictures
    reference = 0.6666666666666666    # its value that others are held against
    panels = ["drift", "noise"]       # keys whose values are the rows and columns of panels; what else varies are lines

A key that goes with one of these three, as ``join`` may with ``leave``, is no axis of its own: it sets no lines apart.
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

from dtfl_private.errors import InputError, RunError, unknown_name
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.plan import plan
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


class PlanTable(BaseModel):
    """The table ``[plan]`` of a preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: str = "3x32x32"
    classes: Annotated[int, Field(ge=2, le=10**6)] = 10
    images_per_client: Annotated[int, Field(ge=1, le=2**31 - 1)] = 500
    x: str
    reference: float | int | str
    panels: Annotated[list[str], Field(min_length=2, max_length=2)]

    def require_varying(self, varying: Sequence[str], configs: Sequence[TrainConfig], where: str) -> None:
        """Raise `InputError` if an axis is none of the keys that vary, or the reference none of its values."""
        for key in (self.x, *self.panels):
            if key not in varying:
                raise unknown_name(f"axis in [plan] of {where}:", key, varying)
        if self.reference not in (values := sorted({getattr(config, self.x) for config in configs})):
            raise InputError(
                f"reference {self.reference} in [plan] of {where} is none of the values of {self.x}: {values}"
            )


class _Point(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: float | int | str
    seed: int
    time_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    regret: Annotated[float, Field(ge=-1, allow_inf_nan=False)]
    tier_accuracy: Annotated[float, Field(ge=0, le=1)]


class _LineFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    asked: str
    points: list[_Point]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The runs of one line of a picture, and their values of what varies, but for ``x`` and the seed."""

    name: str
    values: Mapping[str, Any]
    configs: Sequence[TrainConfig]

    def asked(self, table: PlanTable) -> str:
        """Return a hash of all that its figures depend on."""
        request = [table.model_dump(mode="json"), *(config.model_dump(mode="json") for config in self.configs)]
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
        title=title, x=table.x, reference=table.reference, panels=(table.panels[0], table.panels[1]), points=points
    )


def _lines(runs: Sequence[PlannedRun], table: PlanTable) -> list[_Line]:
    configs = [run.config for run in runs]
    axes = (table.x, *table.panels)
    apart = [
        key
        for key in varying_keys(configs)
        if key in table.panels or not any(_goes_with(key, axis, configs) for axis in axes)
    ]
    by_name: dict[str, list[TrainConfig]] = {}
    for run in runs:
        by_name.setdefault("-".join(f"{key}{getattr(run.config, key)}" for key in apart), []).append(run.config)
    return [
        _Line(name=_fit(name), values={key: _shown(getattr(own[0], key)) for key in apart}, configs=own)
        for name, own in by_name.items()
    ]


def _goes_with(key: str, axis: str, configs: Sequence[TrainConfig]) -> bool:
    """Whether the value of an axis says what the key's is, in all runs."""
    pairs = {(_shown(getattr(config, axis)), _shown(getattr(config, key))) for config in configs}
    return len(pairs) == len({value for value, _ in pairs})


def _shown(value: object) -> object:
    """Return the value of a key as figures are told apart by it: lists, of defenses say, as texts."""
    return value if isinstance(value, str | int | float) else str(value)


def _fit(name: str) -> str:
    """Return a name that is fit for a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name) or "line"


def varying_keys(configs: Sequence[TrainConfig]) -> list[str]:
    """Return the keys, but for the seed, in which configurations differ."""
    return [
        key
        for key in TrainConfig.model_fields
        if key != "seed" and any(getattr(config, key) != getattr(configs[0], key) for config in configs)
    ]


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
    if file.asked != line.asked(table) or len(file.points) != len(line.configs):
        raise InputError(f"sweep folder '{folder}' has a line '{line.name}' of another preset: choose another --out")
    return file.points


def _announce(lines: Sequence[_Line], waiting: Sequence[_Line], listener: Callback) -> None:
    if len(waiting) < len(lines):
        listener.note(f"{len(lines) - len(waiting)} of {number_of(len(lines), 'line')} had been planned before")
    rounds = [sum(config.rounds for config in line.configs) for line in waiting]
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
            listener.job_advanced(line.name, planned, sum(config.rounds for config in line.configs))
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
    for config in line.configs:
        points.append(_point(config, table, networks.of(config)))
        rounds += config.rounds
        report(rounds)
    file = _LineFile(asked=line.asked(table), points=points)
    write_atomic(folder / f"{line.name}.json", (file.model_dump_json(indent=1) + "\n").encode())


class _Networks:
    """The networks of a line, described once each: that takes longer than many rounds."""

    def __init__(self, table: PlanTable) -> None:
        self._table = table
        self._known: dict[tuple[str, str], StagedModel] = {}

    def of(self, config: TrainConfig) -> StagedModel:
        """Return the network of a run."""
        norm = resolved_norm(config, make_chain(config))
        if (config.model, norm) not in self._known:
            self._known[config.model, norm] = build_description(
                config.model,
                input_shape=parse_shape(self._table.input_shape),
                classes=self._table.classes,
                norm=norm,
                seed=config.seed,
                allowed=config.allowed,
            )
        return self._known[config.model, norm]


def _point(config: TrainConfig, table: PlanTable, network: StagedModel) -> _Point:
    planned = plan(
        config,
        input_shape=parse_shape(table.input_shape),
        classes=table.classes,
        images_per_client=table.images_per_client,
        model=network,
    )
    regret, accuracy = planned.regret(planned.virtual_time_s), planned.tier_accuracy
    if regret is None or accuracy is None:
        raise InputError(f"method {config.method} leaves no choice of tiers: a planned sweep is about it")
    return _Point(
        x=getattr(config, table.x),
        seed=config.seed,
        time_s=planned.virtual_time_s,
        regret=regret,
        tier_accuracy=accuracy,
    )
