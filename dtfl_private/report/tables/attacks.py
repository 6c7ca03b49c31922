"""What there is to attack with, and who attacks: the tables of ``list attacks`` and ``list adversaries``."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from dtfl_private.protocol.threat import ADVERSARIES, MEANING
from dtfl_private.report.tables.plain import plain_table


@dataclass(frozen=True, kw_only=True)
class ListedAttack:
    """An attack as a table shows it.

    Attributes:
        name: as users write it.
        settings: with their defaults.
        summary: what it does, in a sentence.
        goal: what it is after.
        needs: capabilities of the adversary.
        source: the paper.
    """

    name: str
    settings: str
    summary: str
    goal: str
    needs: Sequence[str]
    source: str


def attacks_table(attacks: Sequence[ListedAttack]) -> Table:
    """Return the table of ``list attacks``."""
    table = plain_table("attacks", "name", "", "", right=False)
    table.columns[0].no_wrap = True
    for attack in attacks:
        table.add_row(attack.name, "what it does", attack.summary)
        table.add_row("", "settings", attack.settings or "none")
        table.add_row("", "is after", attack.goal)
        table.add_row("", "needs", ", ".join(sorted(attack.needs)))
        table.add_row("", "source", attack.source)
        table.add_section()
    table.caption = "what they need, adversaries have or have not: see `list adversaries`"
    table.caption_justify = "left"
    return table


def adversaries_table() -> Table:
    """Return the table of ``list adversaries``: who they are, what they see and may do."""
    table = plain_table("adversaries", "name", "who", "sees and may do", right=False)
    table.columns[0].no_wrap = True
    for adversary in ADVERSARIES.values():
        has = [f"{capability}: {MEANING[capability]}" for capability in MEANING if capability in adversary.has]
        table.add_row(adversary.name, adversary.who, "\n".join(has))
        table.add_section()
    table.caption = "auxiliary data and knowledge of the network come on top, by --aux"
    table.caption_justify = "left"
    return table
