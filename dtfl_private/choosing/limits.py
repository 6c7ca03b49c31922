"""Limits: what may leak at most, as a user writes it.

    ssim<=0.4                 no attack may reach an SSIM above 0.4 at any tier that clients may be in
    ssim<=0.4@tier<=2         ... at tiers 1 and 2
    mse>=0.02                 no attack may come closer than an MSE of 0.02
    membership-auc<=0.6       AUC of attacks on membership alone
    epsilon-labels<=3         the guarantee for labels, which is a proof and no measurement

A limit is a gate turned round: what must hold, where a gate says what must not. It is held against that end of a
result's 95 % interval that exposes more, and the worst of all attacks and tiers counts.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    TokenReconstruction,
)
from dtfl_private.auditing.gate import GATE, TIER_COMPARISONS, Gate
from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import METRICS, OF_MEASURES, find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.plugins.installed import find, installed

Aim = type[Attack] | None
"""What attacks whose results count are after; None: any."""

EPSILON = "epsilon-"
GUARANTEED = ("labels", "smashed", "weights")
"""Kinds of data of which a guarantee may be asked, after `EPSILON`."""

# Metrics of several kinds of attacks, with the name of the kind before them.
AIMED: Mapping[str, tuple[str, type[Attack]]] = {
    **{
        f"membership-{name}": (name, MembershipInference)
        for name in ("auc", "balanced-accuracy", "tpr-at-fpr-0.01", "tpr-at-fpr-0.001")
    },
    "label-accuracy": ("accuracy", LabelInference),
    "attribute-accuracy": ("accuracy", AttributeInference),
}

OF_IMAGES = frozenset(
    (*("mse", "mse-worst-5", "psnr", "psnr-worst-5", "ssim", "ssim-worst-5"), "identifiability", "classifier-accuracy")
)
OF_TEXTS = frozenset(("token-accuracy", "rouge-l", "exact-sequences"))
OF_MEMBERSHIP = frozenset(("auc", "balanced-accuracy", "tpr-at-fpr-0.01", "tpr-at-fpr-0.001"))
MEASURED = frozenset(metric.name for metric in OF_MEASURES)

# LPIPS needs weights that are nowhere but where the user puts them.
LIMITABLE = (*(name for name in METRICS if name != "lpips"), *AIMED, *(f"{EPSILON}{what}" for what in GUARANTEED))

FORM = (
    "METRIC<=VALUE (METRIC>=VALUE where low values expose), as in ssim<=0.4, and for some tiers only @tier<=2 after it"
)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What may leak at most by one metric, at all tiers or at some.

    Attributes:
        name: as users write the metric; the metric itself, or with a kind of attacks before it.
        bound: in the metric's unit.
        strict: whether the bound itself is refused.
        tier_comparison: key of `TIER_COMPARISONS`; None for all tiers.
        tier: what tiers are compared with; unused without ``tier_comparison``.
    """

    name: str
    bound: float
    strict: bool = False
    tier_comparison: str | None = None
    tier: int = 0

    def __str__(self) -> str:
        where = "" if self.tier_comparison is None else f"@tier{self.tier_comparison}{self.tier}"
        return f"{self.name}{'<' if self.high else '>'}{'' if self.strict else '='}{self.bound:.15g}{where}"

    @property
    def metric(self) -> str:
        """The name in results."""
        return AIMED[self.name][0] if self.name in AIMED else self.name

    @property
    def aim(self) -> Aim:
        """What attacks whose results count are after; None: any."""
        return AIMED[self.name][1] if self.name in AIMED else None

    @property
    def guaranteed(self) -> str | None:
        """The kind of data whose epsilon is limited; None where something measured is."""
        return self.name.removeprefix(EPSILON) if self.name.startswith(EPSILON) else None

    @property
    def high(self) -> bool:
        """Whether high values expose."""
        return self.guaranteed is not None or find_metric(self.metric).exposing == "high"

    @property
    def label(self) -> str:
        """The metric for people."""
        return self.name if self.guaranteed or self.aim else find_metric(self.metric).label

    @property
    def digits(self) -> int:
        """Digits behind the decimal point, for people."""
        return 2 if self.guaranteed else find_metric(self.metric).digits

    @property
    def gate(self) -> Gate:
        """The gate that is crossed where the limit does not hold."""
        comparison = (">" if self.high else "<") + ("=" if self.strict else "")
        return Gate(
            metric=self.metric,
            comparison=comparison,
            limit=self.bound,
            tier_comparison=self.tier_comparison,
            tier=self.tier,
        )

    def covers(self, tier: int) -> bool:
        """Whether the limit is about a tier."""
        return self.gate.covers(tier)

    def counts(self, result: Result) -> bool:
        """Whether a result counts: its metric, tier and attack are meant, and it is no trivial guess."""
        if result.metric != self.metric or not self.covers(result.tier) or result.source in GUESSES:
            return False
        return self.aim is None or _is_after(result.source, self.aim)

    def excess(self, value: float) -> float:
        """Return by how much a value is beyond the bound, in the metric's unit; 0 or less where the limit holds."""
        over = value - self.bound if self.high else self.bound - value
        return math.nextafter(0, 1) if over == 0 and self.strict else over

    def exposed(self, value: float) -> float:
        """Return a number that is larger for values that expose more."""
        return value if self.high else -value

    def worse_end(self, result: Result) -> float:
        """Return that end of a result's interval that exposes more."""
        return result.ci_high if self.high else result.ci_low

    def worst(self, results: Iterable[Result], by_end: bool = True) -> dict[int, Result]:
        """Return, for each tier with any, the result that exposes most: by its interval's end, or by its value."""
        found: dict[int, Result] = {}
        for result in filter(self.counts, results):
            known = found.get(result.tier)
            if known is None or self._key(result, by_end) > self._key(known, by_end):
                found[result.tier] = result
        return dict(sorted(found.items()))

    def _key(self, result: Result, by_end: bool) -> tuple[float, float]:
        end, value = self.exposed(self.worse_end(result)), self.exposed(result.value)
        return (end, value) if by_end else (value, end)


def _is_after(source: str, aim: type[Attack]) -> bool:
    """Whether the attack of a name is after something; one of the user's own is not known to be."""
    if source not in installed("attack"):
        return False
    kind = find("attack", source).load()
    return isinstance(kind, type) and issubclass(kind, aim)


def parse_limit(text: str) -> Limit:
    """Return the limit that a user wrote.

    Raises:
        InputError: another form, an unknown metric (the nearest is named), or a limit that asks for leakage.
    """
    match = GATE.fullmatch(text)
    if match is None:
        quote = "" if set(text) & set("<>") else "; put it in quotes, for the shell takes < as a redirection"
        raise InputError(f"limit '{text}' is refused: expected {FORM}{quote}")
    spelled = {comparable(name): name for name in LIMITABLE}
    if comparable(match["metric"]) not in spelled:
        raise unknown_name(f"metric in limit '{text}'", match["metric"], LIMITABLE)
    bound, comparison = float(match["limit"]), match["comparison"]
    if not math.isfinite(bound):
        raise InputError(f"limit '{text}' is refused: {match['limit']} is beyond all numbers")
    limit = Limit(
        name=spelled[comparable(match["metric"])],
        bound=bound,
        strict=not comparison.endswith("="),
        tier_comparison=match["tier_comparison"],
        tier=int(match["tier"] or 0),
    )
    if comparison.startswith("<") != limit.high:
        which = "high" if limit.high else "low"
        raise InputError(f"limit '{text}' asks for leakage: {which} values of {limit.name} expose, write '{limit}'")
    if limit.guaranteed and limit.tier_comparison is not None:
        raise InputError(f"limit '{text}' is refused: a guarantee holds for all tiers: leave @tier out")
    return limit


def parse_limits(texts: Sequence[str]) -> tuple[Limit, ...]:
    """Return the limits that a user wrote; none at all, or one metric and tier twice, is refused."""
    limits = tuple(map(parse_limit, texts))
    if not limits:
        raise InputError("no limit is given: say what may leak, as --limit 'ssim<=0.4'")
    places = [(limit.name, limit.tier_comparison, limit.tier) for limit in limits]
    for place, limit in zip(places, limits, strict=True):
        if places.count(place) > 1:
            raise InputError(f"limit '{limit}' is one of two for the same metric and tiers: give one of them")
    return limits


def aims_of(limits: Iterable[Limit]) -> list[type[Attack]]:
    """Return what attacks must be after for these limits to be judged, each once."""
    found: list[type[Attack]] = []
    for limit in limits:
        if limit.metric in OF_IMAGES:
            found.append(Reconstruction)
        elif limit.metric in OF_TEXTS:
            found.append(TokenReconstruction)
        elif limit.metric in OF_MEMBERSHIP:
            found.append(MembershipInference)
        elif limit.metric == "accuracy":
            found += [LabelInference, AttributeInference] if limit.aim is None else [limit.aim]
    return list(dict.fromkeys(found))


def needs_measures(limits: Iterable[Limit]) -> bool:
    """Whether some limit is judged by measures that mount no attack."""
    return any(limit.metric in MEASURED for limit in limits)


def tiers_of(condition: str, tiers: Sequence[int]) -> tuple[int, ...]:
    """Return the tiers that a condition leaves: ``all``, or as after @tier in a limit, ``>=2``.

    Raises:
        InputError: it is no condition.
    """
    if condition == "all":
        return tuple(tiers)
    match = re.fullmatch(r"\s*([<>]=?|==?)\s*([0-9]{1,9})\s*", condition)
    if match is None:
        raise InputError(f"tiers '{condition}' is refused: expected all, or a condition such as >=2")
    return tuple(tier for tier in tiers if TIER_COMPARISONS[match[1]](tier, int(match[2])))
