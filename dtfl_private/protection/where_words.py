"""Where a defense acts, in words."""

from collections.abc import Iterable

from dtfl_private.protection.defense_rule import Case
from dtfl_private.protocol.contracts import tier_names


def where_words(cases: Iterable[Case], among: Iterable[Case]) -> str:
    """Return in words which clients these are: ``in tiers 1, 2``, ``of profile phone``, or both.

    Args:
        cases: the tiers and profiles that are meant.
        among: all that clients can have.
    """
    meant, known = list(cases), list(among)
    tiers = dict.fromkeys(case.tier for case in known)
    profiles = dict.fromkeys(case.profile for case in known)
    found: dict[tuple[str, ...], list[int]] = {}
    for tier in tiers:
        names = tuple(name for name in profiles if Case(tier=tier, profile=name) in meant)
        if names:
            found.setdefault(names, []).append(tier)
    return "; ".join(
        _words(own, names, every_tier=len(own) == len(tiers), every_profile=len(names) == len(profiles))
        for names, own in found.items()
    )


def _words(tiers: list[int], names: tuple[str, ...], *, every_tier: bool, every_profile: bool) -> str:
    parts = []
    if not every_tier or every_profile:
        parts.append(f"in tier{'s' if len(tiers) > 1 else ''} {tier_names(tiers)}")
    if not every_profile:
        parts.append(f"of profile {' or '.join(names)}")
    return " ".join(parts)
