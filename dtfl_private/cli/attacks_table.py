"""What there is to attack with, and who attacks: the tables of ``list attacks`` and ``list adversaries``."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
)
from dtfl_private.protocol.threat import ADVERSARIES, MEANING
from dtfl_private.report.tables.plain import plain_table

GOALS: Mapping[type[Attack], str] = {
    Reconstruction: "the images",
    MembershipInference: "whether a record was trained on",
    AttributeInference: "a property of the images",
    LabelInference: "true labels behind protected ones",
}


def goal_of(attack: type[Attack]) -> str:
    """Return what an attack is after, in words."""
    return next((words for base, words in GOALS.items() if issubclass(attack, base)), "unknown")


def attacks_table(rows: Sequence[tuple[str, str, str]], attacks: Mapping[str, type[Attack]]) -> Table:
    """Return the table of ``list attacks``.

    Args:
        rows: name, settings and summary of each.
        attacks: the classes, by name.
    """
    table = plain_table("attacks", "name", "", "", right=False)
    table.columns[0].no_wrap = True
    for name, settings, summary in rows:
        table.add_row(name, "what it does", summary)
        table.add_row("", "settings", settings or "none")
        if name in attacks:
            facts = attacks[name].facts
            table.add_row("", "is after", goal_of(attacks[name]))
            table.add_row("", "needs", ", ".join(sorted(facts.needs)))
            table.add_row("", "source", facts.source)
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
