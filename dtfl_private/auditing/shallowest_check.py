"""The sanity check at md1: undefended, the strongest attack must get inputs back from the shallowest cut."""

from collections.abc import Mapping
from dataclasses import replace

from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.leakage.results.result import Result
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import for_purpose
from dtfl_private.verdicts.findings import SanityCheck

# What the strongest attack must reach: of images as mean SSIM, of texts as token accuracy.
SHALLOWEST_SSIM = 0.9
SHALLOWEST_TOKENS = 0.95
PURPOSE = "sanity check at md1"


def check_shallowest(plan: AuditPlan, attacks: Mapping[str, Attack], progress: Callback) -> SanityCheck:
    """Return whether the strongest attack gets inputs back at md1 of the run's last round, played without defenses.

    Args:
        plan: of the audit.
        attacks: that reconstruct them, as users write them; see `sanity_attacks`.
        progress: hears of one job for each of them.
    """
    attack_plan, progress = at_md1(plan, attacks), for_purpose(progress, PURPOSE)
    progress.jobs_announced(attack_plan.labels)
    verdicts = judged_guesses(attack_plan, progress)
    limits = {"ssim": SHALLOWEST_SSIM, "token-accuracy": SHALLOWEST_TOKENS}
    reached = [result for verdict in verdicts for result in verdict.results if result.metric in limits]
    best = max(reached, key=_value)
    needed = limits[best.metric]
    return SanityCheck(
        name="md1",
        attack=best.source,
        metric=best.metric,
        value=best.value,
        needed=needed,
        passed=best.value > needed,
    )


def _value(result: Result) -> float:
    return result.value


def at_md1(plan: AuditPlan, attacks: Mapping[str, Attack]) -> AttackPlan:
    """Return the plan of these attacks, once each.

    Where the run has no defenses and is audited at md1, its guesses are among those of the audit's own attacks.
    """
    opened, folder = plan.opened, plan.folder / "attacks"
    if plan.defended:
        prepared = opened.prepared
        defense = DefenseChain(class_weights=prepared.worker.defense.class_weights)
        bare = replace(prepared, worker=replace(prepared.worker, defense=defense))
        opened, folder = replace(opened, prepared=bare), plan.folder / "sanity"
    if 1 not in opened.cut_shapes:  # a method with one cut, which is deeper
        opened = opened.cut_at(1)
    changes = {"tiers": (1,), "seeds": 1, "attacks": tuple(attacks), "replay": True}
    config = plan.attack_config.model_copy(update=changes)
    return plan_attack(opened, config, None if plan.attacks is None else list(attacks.values()), folder)
