"""Tables as Markdown, whatever stands in them: names in a run may be anybody's."""

import re
from collections.abc import Sequence


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, an empty one behind it."""
    return [_row(columns), "|--" * len(columns) + "|", *map(_row, rows), ""]


def markdown_cell(text: str) -> str:
    """Return a text in which nothing is Markdown."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def _row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown_cell, texts)) + " |"
