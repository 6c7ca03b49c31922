"""What the sanity checks have in common: the attacks that they mount, and the word on what these reached."""

from collections.abc import Mapping, Sequence
from typing import Literal

from dtfl_private.attacking.base import Attack, Reconstruction, Target, TokenReconstruction, name_of
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.verdicts.findings import SanityCheck

# Mounted if none of the audit's attacks reconstructs images, or texts.
FALLBACK = "optimization:steps=120"
FALLBACK_OF_TEXTS = "token-lookup"


def sanity_attacks(plan: AuditPlan) -> Mapping[str, Attack]:
    """Return the attacks that can be tried where nothing, or next to nothing, is hidden, by text; none without cuts."""
    if not plan.cut_tiers:
        return {}
    target = _target_at_md1(plan) if plan.of_texts else identity_target(plan)
    found = {job.chosen.text: job.chosen.attack for job in plan.jobs if _applies(job.chosen.attack, target)}
    fallback = FALLBACK_OF_TEXTS if plan.of_texts else FALLBACK
    return found or {fallback: create("attack", fallback)}


def identity_target(plan: AuditPlan) -> Target:
    """Return what an attack may know of a client that holds no module and has no defense."""
    worker = plan.opened.prepared.worker
    shape = tuple(worker.train_images.shape[1:])
    return Target(tier=1, input_shape=shape, cut_shape=shape, classes=worker.classes, defense=DefenseChain())


def _target_at_md1(plan: AuditPlan) -> Target:
    """Return what an attack may know of a client that holds md1 and has no defense."""
    opened, worker = plan.opened, plan.opened.prepared.worker
    shapes = (opened if 1 in opened.cut_shapes else opened.cut_at(1)).cut_shapes
    return Target(
        tier=1,
        input_shape=tuple(worker.train_images.shape[1:]),
        cut_shape=shapes[1],
        classes=worker.classes,
        defense=DefenseChain(),
    )


def _applies(attack: Attack, target: Target) -> bool:
    needs = attack.facts.needs
    if not isinstance(attack, Reconstruction | TokenReconstruction) or attack.tampers or attack.facts.looks_back:
        return False
    if not {"smashed", "client-weights"} <= needs or "updates" in needs:
        return False
    try:
        attack.check(target)
    except InputError:  # as one against a defense that is not there
        return False
    return True


def judged_by_ssim(
    name: Literal["identity", "update"], attacks: Sequence[Attack], reached: Sequence[float], needed: float
) -> SanityCheck:
    """Return a check by the strongest of its attacks; it passes above what is needed.

    Args:
        name: of the check.
        attacks: that were mounted, one at least.
        reached: mean SSIM of each.
        needed: SSIM.
    """
    best = max(range(len(attacks)), key=reached.__getitem__)
    return SanityCheck(
        name=name,
        attack=name_of(attacks[best]),
        metric="ssim",
        value=reached[best],
        needed=needed,
        passed=reached[best] > needed,
    )
