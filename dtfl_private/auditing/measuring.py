"""Measures without attacks, tier by tier, of a run and of the same without defenses."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private import leakage, privacy
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.parallel import NamedRun, open_once
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.measured_release import measured_run, release_at
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.errors import InputError
from dtfl_private.files.reading import read_bytes
from dtfl_private.leakage.measures.base import Figure, Measure, Release
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.leakage.results.result import Result
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.jobs import Report
from dtfl_private.runtime.progress import Relay, for_purpose
from dtfl_private.verdicts.findings import NotTested

UNDEFENDED = "undefended"
"""What the labels of measures on the run without defenses say that they are of."""


OF_IMAGES = "these measures are of images, whose values can change a little; this run's inputs are sequences of tokens"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What measures say of a run: their figures as results, and which of them could not be given, and why."""

    results: Sequence[Result]
    not_given: Sequence[NotTested]


def measure_training(
    plan: AuditPlan, training: AttackedTraining, progress: Callback
) -> tuple[Measured, Sequence[Result]]:
    """Return what measures say of the run, and their results on the same without defenses if there is one."""
    if not plan.cut_tiers:
        return Measured(results=(), not_given=()), ()
    own = measure_run(plan.opened, plan.config, plan.cut_tiers, plan.cache, progress)
    if training.undefended is None:
        return own, []
    progress, config = for_purpose(progress, UNDEFENDED), plan.opened.prepared.config
    undefended = open_run(
        training.undefended,
        data_dir=config.data_dir,
        objects=plan.opened.objects.undefended(),
        allow_plugins=config.allowed,
    )
    return own, measure_run(undefended, plan.config, plan.cut_tiers, plan.cache, progress).results


@dataclass(frozen=True, kw_only=True)
class MeasureTask:
    """All measures of a run at one tier; what a process is told.

    Attributes:
        run: that is measured.
        config: of the audit, settled.
        tier: client modules m.
        cache: of figures.
        purpose: what the jobs' labels say that they are for.
    """

    run: NamedRun
    config: AuditConfig
    tier: int
    cache: ResultCache
    purpose: str


def measure_tasks(plan: AuditPlan, training: AttackedTraining) -> list[MeasureTask]:
    """Return the measures of a training, for processes that make them ahead; its parts must have names."""
    runs = [(NamedRun.of(plan.opened), "")]
    if training.undefended is not None:
        runs.append((NamedRun.of(plan.opened, training.undefended.path), UNDEFENDED))
    return [
        MeasureTask(
            run=run,
            config=plan.config,
            tier=tier,
            cache=plan.cache,
            purpose=purpose,
        )
        for run, purpose in runs
        for tier in sorted(plan.cut_tiers, reverse=True)
    ]


def measure_in_process(task: MeasureTask, report: Report) -> None:
    """Make and cache the figures of a task; this is what a process does."""
    with deterministic_kernels(), one_thread():  # as the audit itself, so that it finds the figures
        opened = open_once(task.run)
        measure_run(opened, task.config, [task.tier], task.cache, for_purpose(Relay(report), task.purpose))


def measure_run(
    opened: OpenedRun, config: AuditConfig, tiers: Sequence[int], results_cache: ResultCache, progress: Callback
) -> Measured:
    """Return the figures of all measures at these tiers.

    The client half is the one that the last round began with. Records are those of its clients, whole batches, as many
    as the configuration allows.

    Args:
        opened: the run.
        config: device, number of records, auxiliary knowledge; settled.
        tiers: client modules m of each.
        results_cache: of figures.
        progress: hears of one job for each measure and tier.
    """
    if opened.vocabulary is not None:
        return Measured(results=(), not_given=[NotTested(what=", ".join(MEASURES), why=OF_IMAGES)])
    progress.jobs_announced([measures_label(tier, name) for tier in tiers for name in MEASURES])
    run = measured_run(opened, config)
    found = []
    for tier in tiers:
        release = release_at(run, tier)
        found += [
            _measure(name, measure, release, (tier, opened.cut_shapes[tier]), results_cache, progress)
            for name, measure in MEASURES.items()
        ]
        found.append(Measured(results=[], not_given=list(_bounds_not_given(release))))
    return _joined(found)


def measures_label(tier: int, measure: str) -> str:
    """Return what a progress display calls a measure at a tier."""
    return f"{measure}, tier {tier}"


def _measure(
    name: str,
    measure: Measure,
    release: Release,
    where: tuple[int, tuple[int, ...]],
    results_cache: ResultCache,
    progress: Callback,
) -> Measured:
    """Return a measure's figures at a tier; ``where`` is the tier with its cut's shape."""
    tier, cut = where
    label = measures_label(tier, name)
    progress.job_started(label)
    figures: Mapping[str, Tensor] = {}
    not_given, cached = [], False
    try:
        with crashes_named(label):
            figures, cached = _figures(measure, release, tier, results_cache)
    except InputError as error:
        not_given.append(NotTested(what=name, why=str(error)))
    progress.job_finished(label, cached=cached)
    not_given += [NotTested(what=name, why=remark) for remark in measure.remarks(release)]
    results = [_result(tier, cut, name, metric, figure) for metric, figure in sorted(figures.items())]
    return Measured(results=results, not_given=not_given)


def _bounds_not_given(release: Release) -> Iterator[NotTested]:
    if release.noise.std is None:
        why = f"bounds that need Gaussian noise of a known deviation: {release.noise.reason}"
        yield NotTested(what="fisher-information, mutual-information", why=why)


def _joined(parts: Sequence[Measured]) -> Measured:
    """Return all parts as one; what was not given for the same reason at several tiers is named once."""
    not_given = dict.fromkeys((one.what, one.why) for part in parts for one in part.not_given)
    return Measured(
        results=[result for part in parts for result in part.results],
        not_given=[NotTested(what=what, why=why) for what, why in not_given],
    )


def _figures(
    measure: Measure, release: Release, tier: int, results_cache: ResultCache
) -> tuple[Mapping[str, Tensor], bool]:
    """Return a measure's figures, packed, and whether they were cached."""
    what = {"measure": repr(measure), "code": _code(), "tier": tier, "of": _digest(release)}
    # One thread: the sums are small, and threads that wait for each other on a busy machine take minutes for seconds.
    with isolated(0, "measure", repr(measure), tier), one_thread():
        return results_cache.get_or_make(what, lambda: _packed(measure.figures(release)))


def _packed(figures: Sequence[Figure]) -> dict[str, Tensor]:
    """Return figures as tensors (value, low, high, n, p-value or not a number), by metric."""
    return {figure.metric: torch.tensor(_row(figure), dtype=torch.float64) for figure in figures}


def _row(figure: Figure) -> list[float]:
    return [figure.value, figure.low, figure.high, figure.n, math.nan if figure.p_value is None else figure.p_value]


def _result(tier: int, cut: tuple[int, ...], source: str, metric: str, figure: Tensor) -> Result:
    value, low, high, n, p_value = figure.tolist()
    return Result(
        tier=tier,
        cut=cut,
        source=source,
        metric=metric,
        value=value,
        ci_low=low,
        ci_high=high,
        p_value=None if math.isnan(p_value) else p_value,
        n=int(n),
        seeds=1,
        adaptive=True,
    )


@cache
def _code() -> str:
    """Return a digest of the code that measures are made of, with what they compute by."""
    digest = hashlib.blake2b(digest_size=16)
    for package in (leakage, privacy):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(read_bytes(path, most_bytes=2**20))
    return digest.hexdigest()


def _digest(release: Release) -> str:
    """Return a short text that is the same for the same release, and for no other."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (release.images, release.smashed, release.labels, release.auxiliary):
        assert tensor is not None
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    with torch.no_grad():
        undefended = release.encoder(release.images[: release.batch_size])
    digest.update(undefended.cpu().contiguous().numpy().tobytes())
    settings = (release.noise, release.releases, release.batch_size, release.delta, release.seed)
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def with_undefended(results: Sequence[Result], undefended: Sequence[Result]) -> list[Result]:
    """Return a run's measures with the value of the same measure on the run without defenses."""
    known: Mapping[tuple[int, str, str], float] = {(r.tier, r.source, r.metric): r.value for r in undefended}
    return [
        result.model_copy(update={"undefended": known.get((result.tier, result.source, result.metric))})
        for result in results
    ]
