"""At which clients a defense acts: a rule over the client's tier and its resource profile, and how it is written.

    tier=3    tier<=2    tier>=4    tier=2-4    profile=phone    tier<=2&profile=phone

Conditions are joined by ``&`` and must all hold. There is no "or": a defense for several cases is given once for each.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from dtfl_private.errors import InputError, shortened, unknown_name
from dtfl_private.plugins.specification import without_rule

# Far deeper than any network is cut: a longer number is a mistake.
DEEPEST = 9999

FORMS = "tier=3, tier<=2, tier>=4, tier=2-4 or profile=NAME, several joined by &"
CONDITION = re.compile(r"\s*(tier|profile)\s*(<=|>=|=)\s*(.*?)\s*", re.ASCII | re.DOTALL)
# Names of profiles may hold the sign themselves; what begins a condition is not among them.
JOINT = re.compile(r"&(?=\s*\w+\s*[<>=])", re.ASCII)
TIERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a rule looks at: the client's tier m, and the name of its resource profile."""

    tier: int
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class DefenseRule:
    """The clients at which a defense acts.

    Attributes:
        low: the shallowest tier.
        high: the deepest tier; None for all that are deeper.
        profile: name of the resource profile; None for all. Capitals, spaces and punctuation do not matter.

    Raises:
        InputError: no tier is in that range, or the profile has no name.
    """

    low: int = 1
    high: int | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        if self.low < 1 or self.low > DEEPEST or (self.high is not None and not self.low <= self.high <= DEEPEST):
            raise InputError(f"rule '{_tiers(self.low, self.high)}' holds in no tier: tiers are numbered from 1")
        if self.profile is not None and (
            not any(sign.isalnum() for sign in self.profile) or self.profile != self.profile.strip()
        ):
            raise InputError(f"rule 'profile={shortened(self.profile)}' names no profile: expected a name, as phone")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule, without the ``@`` before it.

        Raises:
            InputError: it is of another form, or can hold nowhere.
        """
        low, high, profile = 1, DEEPEST, None
        for part in JOINT.split(text):
            match = CONDITION.fullmatch(part)
            if match is None or (match[1] == "profile" and match[2] != "="):
                raise InputError(f"rule '{shortened(text)}' of a defense is not understood: expected {FORMS}")
            if match[1] == "tier":
                first, last = _range(match[2], match[3], text)
                low, high = max(low, first), min(high, last)
            elif profile is not None:
                raise InputError(f"rule '{shortened(text)}' of a defense names two profiles: {ONCE_FOR_EACH}")
            else:
                profile = match[3]
        if low > high:
            raise InputError(f"rule '{shortened(text)}' of a defense holds in no tier: {ONCE_FOR_EACH}")
        return cls(low=low, high=None if high == DEEPEST else high, profile=profile)

    def __str__(self) -> str:
        tiers = _tiers(self.low, self.high)
        profile = "" if self.profile is None else f"profile={self.profile}"
        return "&".join(part for part in (tiers, profile) if part) or "tier>=1"

    def holds(self, case: Case) -> bool:
        """Whether a client in this case is among those at which the defense acts."""
        of_profile = self.profile is None or _key(self.profile) == _key(case.profile)
        return of_profile and self.in_tier(case.tier)

    def in_tier(self, tier: int) -> bool:
        """Whether there may be a client in this tier at which the defense acts."""
        return self.low <= tier <= (self.high or DEEPEST)

    def overlaps(self, other: "DefenseRule") -> bool:
        """Whether there may be a client at which both hold."""
        profiles = {_key(rule.profile) for rule in (self, other) if rule.profile is not None}
        deepest = min(self.high or DEEPEST, other.high or DEEPEST)
        return len(profiles) < 2 and max(self.low, other.low) <= deepest

    def require_profile(self, known: Iterable[str]) -> None:
        """Raise `InputError`, with the nearest name, if the profile is none of these."""
        if self.profile is not None and _key(self.profile) not in {_key(name) for name in known}:
            raise unknown_name(f"profile in the rule '{self}' of a defense:", self.profile, known)


EVERYWHERE = DefenseRule()

ONCE_FOR_EACH = "all of its conditions must hold at once; for several cases give the defense once for each"


def with_spelled_rule(text: str) -> str:
    """Return a specification with its rule in the one way in which rules are written out.

    Raises:
        InputError: the rule is not understood.
    """
    spec, rule = without_rule("defense", text)
    return f"{spec}@{DefenseRule.parse(rule[1:])}" if rule else text


def representative_cases(rules: Iterable[DefenseRule]) -> tuple[Case, ...]:
    """Return a client of each kind that rules tell apart: in each stretch of tiers, of each profile and of none.

    Deeper tiers than a network has may be among them.
    """
    known = list(rules)
    bounds = {1} | {rule.low for rule in known} | {rule.high + 1 for rule in known if rule.high is not None}
    profiles = {"": None} | {rule.profile: None for rule in known if rule.profile is not None}
    return tuple(Case(tier=tier, profile=profile) for tier in sorted(bounds) for profile in profiles)


def _range(relation: str, value: str, text: str) -> tuple[int, int]:
    """Return the first and last tier of a condition."""
    match = TIERS.fullmatch(value)
    if match is None or (match[2] and relation != "="):
        raise InputError(f"rule '{shortened(text)}' of a defense is not understood: expected {FORMS}")
    number, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= number <= last <= DEEPEST:
        raise InputError(f"rule '{shortened(text)}' of a defense holds in no tier: tiers are numbered from 1")
    return {"=": (number, last), "<=": (1, last), ">=": (number, DEEPEST)}[relation]


def _tiers(low: int, high: int | None) -> str:
    if high is None:
        return f"tier>={low}" if low > 1 else ""
    if low == high:
        return f"tier={low}"
    return f"tier<={high}" if low == 1 else f"tier={low}-{high}"


def _key(name: str) -> str:
    """Reduce a profile's name to its letters, digits and points: ``4 CPU, 100 Mbps`` and ``4cpu-100mbps`` agree."""
    return "".join(sign for sign in name.casefold() if sign.isalnum() or sign == ".")
