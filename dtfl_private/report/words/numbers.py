"""Numbers as people read them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def si(value: float, unit: str) -> str:
    """Return a quantity in three digits with a decimal prefix: ``si(2.5e6, "B")`` is "2.5 MB", ``si(0, "")`` is "0"."""
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    power = 0
    # 999.5 would be rounded to four digits, which "g" writes as 1e+03.
    while abs(value) >= 999.5 and power < len(prefixes) - 1:
        value, power = value / 1e3, power + 1
    return f"{value:.3g} {prefixes[power]}{unit}".rstrip()


def duration(seconds: float) -> str:
    """Return seconds as "12.3 s", "4 min 05 s" or "2 h 03 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def tiers_text(tiers: Iterable[int]) -> str:
    """Return how many clients are in which tier: "1:2 3:5" for two in tier 1 and five in tier 3."""
    return tier_counts_text(Counter(tiers))


def tier_counts_text(counts: Mapping[int, int]) -> str:
    """Return counts by tier, ascending."""
    return " ".join(f"{tier}:{counts[tier]}" for tier in sorted(counts))


def perplexity_text(record: Mapping[str, Any]) -> str:
    """Return the perplexity in a round of a language model; a dash where there is none."""
    return f"{record['test_perplexity']:.4g}" if "test_perplexity" in record else "-"


def bytes_text(traffic: Mapping[str, int]) -> str:
    """Return the bytes of each kind."""
    return ", ".join(f"{kind.replace('_', ' ')} {si(sent, 'B')}" for kind, sent in traffic.items())


def number_of(count: int, noun: str) -> str:
    """Return how many there are: "1 round", "2 rounds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[object]) -> str:
    """Return "1", "1 and 2" or "1, 2 and 3"."""
    texts = [str(item) for item in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
