"""The attacks that the sanity checks mount: those of the audit that reconstruct images from smashed data."""

from dtfl_private.attacking.base import Attack, Reconstruction, Target
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain

# Mounted if none of the audit's attacks reconstructs images.
FALLBACK = "optimization:steps=120"


def sanity_attacks(plan: AuditPlan) -> list[Attack]:
    """Return the attacks that can be tried on inputs that are sent as they are, each once; none without cuts."""
    if not plan.cut_tiers:
        return []
    target = identity_target(plan)
    found = {job.chosen.text: job.chosen.attack for job in plan.jobs if _applies(job.chosen.attack, target)}
    return list(found.values()) or [create("attack", FALLBACK)]


def identity_target(plan: AuditPlan) -> Target:
    """Return what an attack may know of a client that holds no module and has no defense."""
    worker = plan.opened.prepared.worker
    shape = tuple(worker.train_images.shape[1:])
    return Target(tier=1, input_shape=shape, cut_shape=shape, classes=worker.classes, defense=DefenseChain())


def _applies(attack: Attack, target: Target) -> bool:
    needs = attack.facts.needs
    if not isinstance(attack, Reconstruction) or attack.tampers or attack.facts.looks_back:
        return False
    if not {"smashed", "client-weights"} <= needs or "updates" in needs:
        return False
    try:
        attack.check(target)
    except InputError:  # as one against a defense that is not there
        return False
    return True
