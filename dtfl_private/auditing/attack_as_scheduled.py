"""Attacks as scheduled: on clients in the tiers in which they really were, by each tier's strongest reconstruction."""

from collections.abc import Mapping, Sequence
from typing import Any

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.parallel import GuessTask, guess_tasks
from dtfl_private.attacking.runner import AttackReport, attack
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import for_purpose, within

PURPOSE = "as scheduled"
FOLDER = "as-scheduled"


def attack_as_scheduled(plan: AuditPlan, report: AttackReport, progress: Callback) -> list[Result]:
    """Return what the strongest reconstruction of each tier gets from clients that the scheduler put there.

    Of half as many victims, once: it is to confirm what clients that were placed there lost, and trains all anew.

    Args:
        plan: of the audit.
        report: of the attacks on clients placed in every tier.
        progress: hears of the attacks.
    """
    progress = for_purpose(progress, PURPOSE)
    tiers_by_attack = _strongest_reconstructions(plan.scheduled_tiers, report.verdicts)
    found = [result for text, tiers in tiers_by_attack.items() for result in _attack_again(plan, text, tiers, progress)]
    return [result for result in found if result.adversary is not None]


def scheduled_tasks(plan: AuditPlan, report: AttackReport) -> list[GuessTask]:
    """Return what of these attacks is not cached yet, for processes that guess it ahead; attacks must have names."""
    tiers_by_attack = _strongest_reconstructions(plan.scheduled_tiers, report.verdicts)
    configs = [_config(plan, text, tiers) for text, tiers in tiers_by_attack.items()]
    plans = [plan_attack(plan.opened, config, None, plan.folder / FOLDER) for config in configs]
    return [task for one in plans for task in guess_tasks(one, PURPOSE)]


def _strongest_reconstructions(tiers: Sequence[int], verdicts: Sequence[Verdict]) -> Mapping[str, list[int]]:
    """Return the attacks that rebuilt most at some tier, with these tiers."""
    tiers_by_attack: dict[str, list[int]] = {}
    for tier in tiers:
        of_tier = [verdict for verdict in verdicts if verdict.job.tier == tier]
        reached = {one.job.chosen.text: value for one in of_tier if (value := _reached(one)) is not None}
        if reached:
            tiers_by_attack.setdefault(max(reached, key=reached.__getitem__), []).append(tier)
    return tiers_by_attack


def _reached(verdict: Verdict) -> float | None:
    """Return the mean SSIM, or token accuracy, of what an attack rebuilt of clients that are in the job's tier."""
    if verdict.job.chosen.attack.tampers:
        return None
    return next((result.value for result in verdict.results if result.metric in ("ssim", "token-accuracy")), None)


def _config(plan: AuditPlan, text: str, tiers: Sequence[int]) -> AttackConfig:
    half = max(1, plan.attack_config.victims // 2)
    changes: dict[str, Any] = {"as_scheduled": True, "tiers": tuple(tiers), "victims": half, "seeds": 1}
    if plan.attacks is None:
        changes["attacks"] = (text,)
    return plan.attack_config.model_copy(update=changes)


def _attack_again(plan: AuditPlan, text: str, tiers: Sequence[int], progress: Callback) -> Sequence[Result]:
    chosen = [job.chosen.attack for job in plan.jobs if job.chosen.text == text][:1]
    return attack(
        plan.opened.folder,
        _config(plan, text, tiers),
        attacks=None if plan.attacks is None else chosen,
        out=plan.folder / FOLDER,
        data_dir=plan.opened.prepared.config.data_dir,
        allow_plugins=plan.opened.prepared.config.allowed,
        callbacks=[within(progress)],
        **plan.opened.objects.arguments(),
    ).results
