"""The fresh audit of a point: another training, on other images, attacked by other means than those it was chosen by.

What was chosen as the best of many is partly the luckiest of them (winner's curse). How much so is measured: the
difference between what the search saw and what the fresh audit sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from dtfl_private.attacking.base import Reconstruction
from dtfl_private.attacking.chosen_attack import make_attack
from dtfl_private.attacking.effort import EFFORTS
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.auditing.audit_config import AuditConfig, make_audit_config
from dtfl_private.auditing.runner import audit
from dtfl_private.choosing.evaluate import attacked_by, leaks
from dtfl_private.choosing.limits import Limit, aims_of
from dtfl_private.choosing.rungs import LINEAR, Rung
from dtfl_private.choosing.trial import Leak, Measured, Rules, Standing, standing, worst_of
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.many_runs import require_same_requests, train_missing
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.summary import read_summary
from dtfl_private.leakage.intervals import LEVEL
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.findings_file import read_findings

BASELINE = "baseline"
DEVIATIONS = NormalDist().inv_cdf((1 + LEVEL) / 2)
# Of the audit: more than trials have.
VICTIMS, SEEDS, AUX_IMAGES = 192, 1, 3000
# Where no limit is about attacks.
CHEAPEST = "decoder:size=small,steps=60"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the search saw of the recommended point, and what the fresh audit sees.

    Attributes:
        what: a limit as written, or "accuracy".
        search, fresh: the figures; None where there is none.
        difference: fresh less search; above 0 it exposes more for metrics whose high values expose.
        low, high: 95 % interval of the difference.
    """

    what: str
    search: float | None
    fresh: float | None
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class FreshAudit:
    """A point after its fresh audit.

    Attributes:
        chosen: how it stood in the search.
        stand: how it stands now.
        findings: of the audit; None where it could not be trained.
        folder: of the run that was audited.
        differences: to what the search saw.
    """

    chosen: Standing
    stand: Standing
    findings: Findings | None
    folder: Path
    differences: Sequence[Difference]

    @property
    def confirmed(self) -> bool:
        """Whether all rules hold on what no trial has seen, and the audit's own checks passed."""
        return self.stand.within and self.findings is not None and self.findings.valid


@dataclass(frozen=True, kw_only=True)
class FreshRuns:
    """Where fresh trainings lie, and how points are audited there.

    Attributes:
        folder: of the trainings.
        rules: that are to hold.
        baseline: the untouched configuration, with the fresh images.
        workers: processes at a time.
        listener: hears how it proceeds.
    """

    folder: Path
    rules: Rules
    baseline: TrainConfig
    workers: int
    listener: Callback

    def audit(self, chosen: Standing, config: TrainConfig, attacks: Sequence[str]) -> FreshAudit:
        """Train and audit a point, and the untouched configuration if that was not trained yet.

        Args:
            chosen: the point as it stood in the search.
            config: of the point, with the fresh images.
            attacks: as users write them.

        Raises:
            RunError: a training or the audit failed.
        """
        name = f"trial-{chosen.measured.trial}"
        runs = [PlannedRun(name=BASELINE, config=self.baseline)]
        if chosen.measured.trial:
            runs.append(PlannedRun(name=name, config=config))
        else:
            name = BASELINE
        require_same_requests(self.folder, runs)
        failed = train_missing(self.folder, runs, min(self.workers, len(runs)), self.listener)
        if failed:
            first, reason = next(iter(failed.items()))
            raise RunError(f"the fresh training '{first}' failed: {reason}; --resume {self.folder.parent} goes on")
        folder = RunFolder(path=self.folder / name)
        findings = self._findings(folder, config, attacks)
        baseline = self._measured(RunFolder(path=self.folder / BASELINE), chosen, None)
        stand = standing(self._measured(folder, chosen, findings), baseline, self.rules)
        return FreshAudit(
            chosen=chosen,
            stand=stand,
            findings=findings,
            folder=folder.path,
            differences=differences(chosen.measured, stand.measured, self.rules.limits),
        )

    def _findings(self, folder: RunFolder, config: TrainConfig, attacks: Sequence[str]) -> Findings:
        audit_config = make_audit_config(
            attacks=tuple(attacks) or (CHEAPEST,),
            victims=VICTIMS,
            seeds=SEEDS,
            aux_images=AUX_IMAGES,
            effort="quick",
            undefended="none",
            device=config.device,
            workers=self.workers if config.device == "cpu" else 1,
        )
        if folder.audit.exists() and is_such(findings := read_findings(folder.audit), config, audit_config):
            return findings
        try:
            return audit(
                folder,
                audit_config,
                title="Fresh audit of what tune recommends",
                data_dir=config.data_dir,
                allow_plugins=config.allowed,
                callbacks=[self.listener],
            ).findings
        except InputError as error:
            raise RunError(f"the fresh audit of {folder.path} is refused: {error}") from None

    def _linear(self, folder: RunFolder) -> Sequence[Result]:
        """Return what the search's own attack gets, with more auxiliary images: the audit's may be weaker somewhere."""
        if Reconstruction not in aims_of(self.rules.limits):
            return ()
        opened = open_run(folder, allow_plugins=self.baseline.allowed)
        rung = Rung(number=0, name="fresh", rounds=1, attacks=(LINEAR,), victims=VICTIMS, aux_images=AUX_IMAGES)
        return attacked_by(opened, rung.attacks, opened.tiers, rung, opened.prepared.config)

    def _measured(self, folder: RunFolder, chosen: Standing, findings: Findings | None) -> Measured:
        """Return what a fresh run reached, in the form of a trial."""
        summary = read_summary(folder)
        target = summary["target_accuracy"]
        found: Sequence[Leak] = ()
        if findings is not None:
            judged, tiers = [*findings.judged, *self._linear(folder)], findings.training.tiers
            found = tuple(leaks(self.rules.limits, judged, tiers, summary["privacy"]))
        return chosen.measured.model_copy(
            update={
                "accuracy": summary["final_accuracy"],
                "images": _images(summary),
                "time_s": summary["virtual_time_s"] if target is None else summary["time_to_target_s"],
                "leaks": found,
            }
        )


def _images(summary: dict[str, Any]) -> int:
    """Return how many images a run was judged on after its last round."""
    return int(summary["test"]["n"])


# Of an audit's settings; attacks are compared by themselves, and the others change no figure.
COMPARED = ("preset", "tiers", "victims", "assume", "aux", "aux_images", "seeds", "effort", "undefended", "measured")


def is_such(findings: Findings, config: TrainConfig, asked: AuditConfig) -> bool:
    """Return whether what lies in a fresh run's folder is the audit that is asked for, and of such a training.

    An interrupted search may find another one there: of a version with other attacks, or by hand with fewer victims.
    """
    wanted = asked.settled()
    effort = EFFORTS[wanted.attacking(1).effort]
    mounted = set(str(findings.settings.get("attacks", "")).split("; "))
    left_out = {one.what.partition(" at tier")[0] for one in findings.not_tested}
    return (
        (findings.training.seed, findings.training.rounds, findings.training.clients)
        == (config.seed, config.rounds, config.clients)
        and all(findings.settings.get(key) == getattr(wanted, key) for key in COMPARED)
        and all(
            text.partition(":")[0] in left_out or make_attack(text, effort)[1] in mounted
            for text in wanted.attacks or ()
        )
    )


def differences(search: Measured, fresh: Measured, limits: Sequence[Limit]) -> list[Difference]:
    """Return what the search saw against what the fresh audit sees: of each limit, and of the accuracy."""
    found = []
    for limit in limits:
        saw, sees = (worst_of(limit, measured.leaks) for measured in (search, fresh))
        found.append(_difference(str(limit), _interval(saw), _interval(sees)))
    return [*found, _difference("accuracy", _of_accuracy(search), _of_accuracy(fresh))]


def next_candidate(waiting: Sequence[Standing], done: Sequence[FreshAudit], limits: Sequence[Limit]) -> Standing:
    """Return the point to audit next: the best that is within the limits by what refuted audits have taught.

    A fresh audit that saw so much more leak than the search saw of one point is expected to see as much more of others.
    Where none is within the limits then, it is the one that is least beyond.

    Args:
        waiting: points, the best first; one at least.
        done: refuted audits.
        limits: on leakage.
    """
    return min(
        waiting, key=lambda stand: sum(_expected(stand, done, place, limit) for place, limit in enumerate(limits))
    )


def _expected(stand: Standing, done: Sequence[FreshAudit], place: int, limit: Limit) -> float:
    """Return by how much a limit is expected to be broken by the end of its interval; 0 where it would hold."""
    found = [one.differences[place].difference for one in done]
    more = max((limit.exposed(value) for value in found if value is not None), default=0.0)
    end = stand.worst[place].end
    if end is None or not done:
        return 0.0
    return max(0.0, limit.exposed(end) + more - limit.exposed(limit.bound))


Interval = tuple[float, float, float] | None


def _interval(leak: Leak) -> Interval:
    if leak.value is None or leak.end is None or leak.other_end is None:
        return None
    return leak.value, min(leak.end, leak.other_end), max(leak.end, leak.other_end)


def _of_accuracy(measured: Measured) -> Interval:
    if measured.accuracy is None:
        return None
    share = measured.accuracy
    half = DEVIATIONS * math.sqrt(share * (1 - share) / measured.images) if measured.images else 0.0
    return share, share - half, share + half


def _difference(what: str, search: Interval, fresh: Interval) -> Difference:
    """Return the difference of two independent figures; the distances to the ends of intervals add up as squares."""
    if search is None or fresh is None:
        known = [None if one is None else one[0] for one in (search, fresh)]
        return Difference(what=what, search=known[0], fresh=known[1], difference=None, low=None, high=None)
    (saw, saw_low, saw_high), (sees, low, high) = search, fresh
    apart = sees - saw
    return Difference(
        what=what,
        search=saw,
        fresh=sees,
        difference=apart,
        low=apart - math.hypot(sees - low, saw_high - saw),
        high=apart + math.hypot(high - sees, saw - saw_low),
    )
