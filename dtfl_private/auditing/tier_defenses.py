"""What an audit says of each tier where a run's defenses have rules: which of them acts there, and who was attacked."""

from collections.abc import Callable, Iterable

from dtfl_private.attacking.victims.acting_defenses import differ_in_a_tier
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.verdicts.findings import NotTested, TierVerdict


def with_defenses(
    opened: OpenedRun, verdicts: Iterable[TierVerdict], profile_at: Callable[[int], str]
) -> list[TierVerdict]:
    """Return verdicts whose sentences say which defenses act at the tier, where they have rules.

    Args:
        opened: the run.
        verdicts: of its tiers.
        profile_at: the resource profile of a tier's victims.
    """
    defense = opened.prepared.worker.defense
    if not defense.ruled:
        return list(verdicts)
    found = []
    for verdict in verdicts:
        profile = profile_at(verdict.tier)
        among = f" at clients of profile {profile}" if profile else ""
        said = _said(defense.at(verdict.tier, profile), among)
        found.append(verdict.model_copy(update={"sentence": f"{verdict.sentence} {said}"}))
    return found


def _said(acting: DefenseChain, among: str) -> str:
    names = ", ".join(name_of(member) for member in acting)
    if not names:
        return f"Not defended at this tier{among}: no defense of the run acts there."
    return f"Defended at this tier{among} by {names}."


def others_not_tested(opened: OpenedRun) -> list[NotTested]:
    """Return that clients with more defenses were not attacked, where clients of one tier differ."""
    if not differ_in_a_tier(opened):
        return []
    why = "of the clients of a tier that differ by their profiles, those were attacked at whom the fewest defenses act"
    return [NotTested(what="clients with more defenses", why=why)]
