"""Who attacks: the table of ``list adversaries``."""

from rich.table import Table

from dtfl_private.protocol.adversaries import ADVERSARIES, MEANING
from dtfl_private.report.tables.plain import plain_table


def adversaries_table() -> Table:
    """Return the table of ``list adversaries``: who they are, what they see and may do."""
    table = plain_table("adversaries", "name", "who", "sees and may do", right=False)
    for adversary in ADVERSARIES.values():
        has = [f"{capability}: {MEANING[capability]}" for capability in MEANING if capability in adversary.has]
        table.add_row(adversary.name, adversary.who, "\n".join(has))
        table.add_section()
    table.caption = "auxiliary data and knowledge of the network come on top, by --aux"
    table.caption_justify = "left"
    return table
