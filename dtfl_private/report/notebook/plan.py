"""A plan in a few lines, and as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from dtfl_private.html_table import table_html
from dtfl_private.printable import one_line
from dtfl_private.report.words.numbers import duration, number_of, si, tier_counts_text


class Planned(Protocol):
    """What is said of a planned round."""

    @property
    def round(self) -> int:
        """Its number."""

    @property
    def round_time_s(self) -> float:
        """Simulated seconds that it takes."""

    @property
    def virtual_time_s(self) -> float:
        """Simulated seconds from the start to its end."""

    @property
    def tier_counts(self) -> Mapping[int, int]:
        """Clients by tier."""

    @property
    def bytes(self) -> Mapping[str, int]:
        """Bytes by kind."""


def plan_text(rounds: Sequence[Planned], others_s: Mapping[str, float], allowed: str | None) -> str:
    """Return a plan in up to three lines.

    Args:
        rounds: that are planned.
        others_s: simulated seconds of the same rounds under other rules, by what they are called.
        allowed: why not all tiers are there; None if they are.
    """
    clients = Counter[int]()
    for planned in rounds:
        clients.update(planned.tier_counts)
    sent = si(sum(sum(planned.bytes.values()) for planned in rounds), "B")
    lines = [
        f"Plan: {number_of(len(rounds), 'round')} in {duration(rounds[-1].virtual_time_s)} simulated, {sent}; "
        f"tier:clients, summed over rounds: {tier_counts_text(clients)}"
    ]
    if others_s:
        lines.append("compared: " + ", ".join(f"{name} {duration(time_s)}" for name, time_s in others_s.items()))
    if allowed is not None:
        lines.append(allowed)
    return "\n".join(map(one_line, lines))


def plan_html(rounds: Sequence[Planned], others_s: Mapping[str, float], notes: Sequence[str]) -> str:
    """Return a plan as a table for a notebook: its rounds, then what it is compared with."""
    rows = [
        (
            str(planned.round),
            duration(planned.round_time_s),
            duration(planned.virtual_time_s),
            si(sum(planned.bytes.values()), "B"),
            tier_counts_text(planned.tier_counts),
        )
        for planned in rounds
    ]
    compared = [f"{name}: {duration(time_s)} in all" for name, time_s in others_s.items()]
    title = f"Plan: {number_of(len(rounds), 'round')} in {duration(rounds[-1].virtual_time_s)} simulated"
    return table_html(title, ("round", "takes", "ends at", "sent", "tier:clients"), rows, [*compared, *notes])
