"""One trial: a training, attacks on it, and the worst of them for each limit; what a process is told and does."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.chosen_attack import make_attack
from dtfl_private.attacking.effort import EFFORTS
from dtfl_private.attacking.refusals import NoneCanRunError
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.runner import attack
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.measuring import measure_run
from dtfl_private.choosing.limits import Limit, needs_measures, parse_limit
from dtfl_private.choosing.linear_decoder import LinearDecoder
from dtfl_private.choosing.release_check import inactive_defenses
from dtfl_private.choosing.rungs import LINEAR, Rung
from dtfl_private.choosing.search import Ask
from dtfl_private.choosing.trial import NOTHING, Leak, Measured
from dtfl_private.errors import InputError, NonFiniteLossError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.summary import read_summary
from dtfl_private.experiments.train import train
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.jobs import Report
from dtfl_private.runtime.progress import AsOneJob, Relay

MEASURED = "measured"
"""What a process reports a trial's outcome under."""


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """A trial as a process is told of it.

    Attributes:
        ask: which point, on which rung.
        config: to train; None where the point is refused.
        refused: why, of a point that is.
        rung: how it is trained and attacked.
        limits: as written.
        folder: of its run.
        label: for people.
    """

    ask: Ask
    config: TrainConfig | None
    refused: str | None
    rung: Rung
    limits: Sequence[str]
    folder: Path
    label: str


def try_point(job: TrialJob, report: Report) -> None:
    """Train and attack one trial, and report what it measured; this is what a process does.

    A combination of parts that is refused is an outcome, and so is a loss that is no number.
    """
    began = time.perf_counter()
    outcome, why, values = "done", None, {}
    try:
        if job.config is None:
            raise InputError(job.refused or "refused")
        progress = AsOneJob(Relay(report), job.label)
        run = train(job.config, out=job.folder, resume=True, callbacks=[progress]).folder
    except NonFiniteLossError as error:
        outcome, why = "diverged", str(error)
    except InputError as error:
        outcome, why = "refused", str(error)
    else:
        values = measured_values(run, job)
    found = {**values, "outcome": outcome, "why": None if why is None else why[:4000]}
    measured = Measured(
        trial=job.ask.trial,
        rung=job.ask.rung,
        point=dict(job.ask.point),
        wall_s=round(time.perf_counter() - began, 3),
        **found,
    )
    report((MEASURED, measured.model_dump_json()))


def measured_values(folder: RunFolder, job: TrialJob) -> dict[str, Any]:
    """Return what a trained trial reached: accuracy, simulated time, and the worst of its leaks.

    Raises:
        RunError: it cannot be attacked, which is no fault of the point.
    """
    try:
        return _measured_values(folder, job)
    except InputError as error:
        raise RunError(f"it was trained, but cannot be attacked: {error}") from None


def _measured_values(folder: RunFolder, job: TrialJob) -> dict[str, Any]:
    assert job.config is not None
    summary = read_summary(folder)
    limits = [parse_limit(text) for text in job.limits]
    opened = open_run(folder, data_dir=job.config.data_dir, allow_plugins=job.config.allowed)
    results = trial_results(opened, limits, job.rung, job.config)
    target = job.config.target_accuracy
    return {
        "accuracy": summary["final_accuracy"],
        "images": len(opened.prepared.worker.test_labels),
        "time_s": summary["virtual_time_s"] if target is None else summary["time_to_target_s"],
        "leaks": tuple(leaks(limits, results, opened.tiers, summary["privacy"], thorough=job.rung.thorough)),
        "inactive": tuple(inactive_defenses(opened)),
    }


def trial_results(opened: OpenedRun, limits: Sequence[Limit], rung: Rung, config: TrainConfig) -> list[Result]:
    """Return the results of the rung's attacks, and of measures where a limit is about them."""
    results: list[Result] = []
    everywhere = [text for text in rung.attacks if rung.thorough or text == LINEAR]
    elsewhere = [text for text in rung.attacks if text not in everywhere]
    first = {min(covered) for limit in limits if (covered := [*filter(limit.covers, opened.tiers)])}
    if everywhere:
        results += attacked_by(opened, everywhere, opened.tiers, rung, config)
    if elsewhere and first:
        fewer = replace(rung, aux_images=rung.aux_images // 2)
        results += attacked_by(opened, elsewhere, sorted(first), fewer, config)
    if needs_measures(limits) and opened.cut_tiers:
        settled = AuditConfig(measured=max(100, rung.victims), device=config.device).settled()
        cache = ResultCache(opened.folder.attacks / "measured", {"run": str(opened.folder.path)})
        results += measure_run(opened, settled, opened.cut_tiers, cache, Callback()).results
    return results


def attacked_by(
    opened: OpenedRun, texts: Sequence[str], tiers: Sequence[int], rung: Rung, config: TrainConfig
) -> Sequence[Result]:
    """Return the results of attacks at these tiers; nothing where none of them can run at any."""
    attacks = [LinearDecoder() if text == LINEAR else make_attack(text, EFFORTS["quick"])[0] for text in texts]
    attack_config = make_attack_config(
        tiers=tuple(tiers),
        replay=True,
        aux_images=rung.aux_images,
        victims=rung.victims,
        seeds=rung.seeds,
        threads=1,
        where_applicable=True,
        device=config.device,
    )
    try:
        return attack(
            opened.folder,
            attack_config,
            attacks=attacks,
            data_dir=config.data_dir,
            allow_plugins=config.allowed,
            pictures=False,  # nobody looks at those of trials
        ).results
    except NoneCanRunError:  # a limit has nothing to be judged by then, which is no way to be within it
        return ()


def leaks(
    limits: Sequence[Limit],
    results: Sequence[Result],
    tiers: Sequence[int],
    privacy: Sequence[Any],
    *,
    thorough: bool = True,
) -> Iterator[Leak]:
    """Yield the worst for each limit at each tier that it is about; what nothing has judged has no bound.

    Args:
        limits: that are to hold.
        results: of attacks and measures.
        tiers: that clients may be in.
        privacy: what is guaranteed of the run, as in summary.json.
        thorough: every tier must have been judged; otherwise those count that were, and one must.
    """
    for limit in limits:
        if limit.guaranteed is not None:
            yield _guaranteed(limit, privacy)
            continue
        worst, covered = limit.worst(results), [*filter(limit.covers, tiers)]
        judged = [tier for tier in covered if tier in worst] or covered[:1]
        for tier in covered if thorough else judged:
            yield _leak(limit, tier, worst.get(tier))


def _leak(limit: Limit, tier: int, result: Result | None) -> Leak:
    if result is None:
        return Leak(limit=str(limit), tier=tier, source=NOTHING, value=None, end=None, other_end=None)
    end = limit.worse_end(result)
    other = result.ci_low if limit.high else result.ci_high
    return Leak(
        limit=str(limit),
        tier=tier,
        source=result.source,
        value=result.value,
        end=end,
        other_end=other,
        n=result.n,
    )


def _guaranteed(limit: Limit, privacy: Sequence[Any]) -> Leak:
    """Return the largest epsilon of a kind of data among clients; none where some client's is not guaranteed."""
    epsilons = [one["epsilon"] for one in privacy if one["what"] == limit.guaranteed]
    value = None if None in epsilons or not epsilons else max(epsilons)
    return Leak(limit=str(limit), tier=None, source="guarantee", value=value, end=value, other_end=value)
