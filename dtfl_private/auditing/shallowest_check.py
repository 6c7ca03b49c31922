"""The sanity check at md1: without defenses, the strongest attack must get images back from the shallowest cut."""

from collections.abc import Sequence
from dataclasses import replace

from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.sanity_attacks import sanity_attacks
from dtfl_private.leakage.results.result import Result
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.runtime.progress import Progress
from dtfl_private.verdicts.findings import SanityCheck

# What the strongest attack must reach, as mean SSIM.
SHALLOWEST_SSIM = 0.9


def check_shallowest(plan: AuditPlan, report: AttackReport, progress: Progress) -> SanityCheck:
    """Return whether the strongest attack got the images back at md1 without defenses.

    Args:
        plan: of the audit.
        report: of the attacks on the run; what it lacks at md1 without defenses is attacked now.
        progress: hears of these attacks.
    """
    undefended = report.undefended if plan.defended else report
    reached = [] if undefended is None else _at_md1(undefended.results)
    reached = reached or _at_md1(_attack_without_defenses(plan, progress))
    best = max(reached, key=_value)
    return SanityCheck(
        name="md1",
        attack=best.source,
        metric="ssim",
        value=best.value,
        needed=SHALLOWEST_SSIM,
        passed=best.value > SHALLOWEST_SSIM,
    )


def _at_md1(results: Sequence[Result]) -> list[Result]:
    """Return how well attacks got images back at md1."""
    return [result for result in results if result.tier == 1 and result.metric == "ssim" and result.adversary]


def _value(result: Result) -> float:
    return result.value


def _attack_without_defenses(plan: AuditPlan, progress: Progress) -> list[Result]:
    """Attack md1 of the run's last round, played once more as if it had no defenses."""
    prepared = plan.opened.prepared
    bare = replace(prepared, worker=replace(prepared.worker, defense=DefenseChain()))
    config = plan.attack_config.model_copy(update={"tiers": (1,), "seeds": 1})
    opened = replace(plan.opened, prepared=bare)
    if 1 not in opened.cut_shapes:  # a method with one cut, which is deeper
        opened = opened.cut_at(1)
    attack_plan = plan_attack(opened, config, sanity_attacks(plan), plan.folder / "sanity")
    progress.jobs_announced(attack_plan.labels)
    return [result for verdict in judged_guesses(attack_plan, progress) for result in verdict.results]
