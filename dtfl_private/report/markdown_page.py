"""Pages of the documentation on the terminal: paragraphs, tables, lists and blocks of the Markdown that they use."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from dtfl_private.report.tables.plain import plain_table

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_MARKED = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)")
_ITEM = re.compile(r"(?:- |\d+\. )")


def markdown_parts(markdown: str) -> Iterator[RenderableType]:
    """Yield what to print of a page, an empty line behind each part."""
    for filled, group in groupby(markdown.splitlines(), key=lambda line: bool(line.strip())):
        if filled:
            yield from _part(list(group))
            yield Text("")


def _part(lines: list[str]) -> Iterator[RenderableType]:
    if all(line.startswith("    ") for line in lines):
        yield from (Text(line, style="bold") for line in lines)
    elif lines[0].startswith("|"):
        yield _table(lines)
    elif lines[0].startswith("#"):
        yield Text(lines[0].lstrip("# "), style="bold")
    elif _ITEM.match(lines[0]):
        yield from (Padding(_inline(item), (0, 0, 0, 2)) for item in _items(lines))
    else:
        yield _inline(" ".join(lines))


def _items(lines: Iterable[str]) -> Iterator[str]:
    """Yield the items of a list, each in one line."""
    item = ""
    for line in lines:
        if _ITEM.match(line) and item:
            yield item
            item = ""
        item += f" {line.strip()}" if item else line
    yield item


def _table(lines: list[str]) -> RenderableType:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    headings, _, *others = rows
    table = plain_table("", *(_inline(heading).plain for heading in headings), right=False)
    for row in others:
        table.add_row(*map(_inline, row))
    return table


def _inline(text: str) -> Text:
    """Return a paragraph with links as their words, and what is marked in it in style."""
    made = Text()
    for part in _MARKED.split(_LINK.sub(r"\1", text)):
        if part.startswith("`"):
            made.append(part.strip("`"), style="cyan")
        elif part.startswith("*"):
            made.append(part.strip("*"), style="bold" if part.startswith("**") else "italic")
        else:
            made.append(part)
    return made
