"""Tables that fit any console: a table that is too wide becomes several, with the key columns repeated in each.

No figure is cut or wrapped, and no word is broken, but for words that are longer than the console is wide. Where not
even one column fits beside the keys, each row is written as lines below each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

# What the house style adds to the widths of its columns: both edges, and what stands between two columns.
EDGES, GAP = 2, 3

# Text is not squeezed into less than this while another table can be begun; long text needs more.
COMFORTABLE, COMFORTABLE_IF_LONG, LONG_TEXT = 24, 40, 120

# Figures beyond this width are lists of figures, which may break between them.
WIDEST_FIGURE = 36

# Keys take at most this share of the width while their words allow it.
KEY_SHARE = 0.5

INDENT = 2

_Texts = Sequence[Text]


@dataclass(frozen=True, kw_only=True)
class _Widths:
    """Of a column: that of its longest line; what it should have; and what it must have, to break no word."""

    full: int
    wanted: int
    least: int


class FittedTable(Table):
    """A table in the house style that fits the console which it is shown on.

    Args:
        keys: how many columns say what a row is of; they are repeated where the table is split.
        settings: of `rich.table.Table`.
    """

    def __init__(self, *, keys: int = 1, **settings: Any) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False, **settings)
        self.keys = keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the title, the table or its parts, and the caption, each within the width."""
        if self.title:
            yield _text(console, self.title, "bold")
        if self.columns:
            cells = [[_text(console, cell) for cell in column.cells] for column in self.columns]
            headings = [_text(console, column.header) for column in self.columns]
            yield from self._fitted(headings, cells, options.max_width)
        if self.caption:
            yield _text(console, self.caption, "table.caption")

    def _fitted(self, headings: _Texts, cells: Sequence[_Texts], width: int) -> Iterator[RenderableType]:
        keys = min(self.keys, max(1, len(self.columns) - 1))
        sizes = [_widths(*found) for found in zip(self.columns, headings, cells, strict=True)]
        key_widths = _keys_fitted(sizes[:keys], int(width * KEY_SHARE) - GAP * (keys - 1))
        room = width - EDGES - sum(key_widths) - GAP * (keys - 1)
        parts = _split(sizes[keys:], room, squeeze=self.show_header)
        if parts is None or room < 0 or (not self.show_header and len(cells) == 2):
            yield Text("")
            yield from self._stacked(headings, cells, keys, width)
            yield Text("")
            return
        for part in parts or [[]]:
            columns = [*range(keys), *(keys + position for position in part)]
            widths = [*key_widths, *_spread([sizes[keys + position] for position in part], room)]
            yield self._part(headings, cells, columns, widths)

    def _part(self, headings: _Texts, cells: Sequence[_Texts], columns: Sequence[int], widths: Sequence[int]) -> Table:
        """Return a table of some of the columns, of these widths."""
        part = Table(box=self.box, pad_edge=False, show_header=self.show_header)
        for position, width in zip(columns, widths, strict=True):
            part.add_column(headings[position], justify=self.columns[position].justify, width=width, overflow="fold")
        for number, row in enumerate(self.rows):
            texts = (cells[position][number] for position in columns)
            part.add_row(*texts, style=row.style, end_section=row.end_section)
        return part

    def _stacked(self, headings: _Texts, cells: Sequence[_Texts], keys: int, width: int) -> Iterator[RenderableType]:
        """Yield each row as lines: its keys, and below them what stands in the other columns."""
        rows = [[column[number] for column in cells] for number in range(self.row_count)]
        if not self.show_header and len(cells) == 2:
            yield from _facts([(key, value) for key, value in rows], width - INDENT // 2, INDENT // 2)
            return
        for row in rows:
            if self.show_header:
                named = list(zip(headings, row, strict=True))
                for facts, indent in ((named[:keys], 0), (named[keys:], INDENT)):
                    yield from _facts([fact for fact in facts if fact[1].plain], width - indent, indent)
            else:
                yield from (text for text in row[:keys] if text.plain)
                yield from _facts([(row[keys], row[keys + 1])], width - INDENT, INDENT)


def _facts(facts: Sequence[tuple[Text, Text]], room: int, indent: int) -> Iterator[RenderableType]:
    """Yield names with what is to be said of them beside them, or below them where a word would have to be broken."""
    names = [name.plain for name, _ in facts]
    least, full = max(map(_longest_word, names), default=0), max(map(cell_len, names), default=0)
    beside = min(full, max(least, room // 2))
    left = room - beside - GAP
    for fits, group in groupby(facts, key=lambda fact: _longest_word(fact[1].plain) <= left):
        if fits:
            table = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
            table.add_column(width=beside, overflow="fold")
            table.add_column(width=left, overflow="fold")
            for name, text in group:
                table.add_row(name, text)
            yield Padding(table, (0, 0, 0, indent))
            continue
        for name, text in group:
            yield Padding(name, (0, 0, 0, indent))
            deeper = indent + INDENT if _longest_word(text.plain) <= room - INDENT else 0
            yield Padding(text, (0, 0, 0, deeper))


def _text(console: Console, thing: RenderableType, style: str = "") -> Text:
    """Return what stands in a cell as the console will show it, so that it is measured as such."""
    text = thing.copy() if isinstance(thing, Text) else console.render_str(str(thing), highlight=False)
    if style:
        text.stylize(style)
    return text


def _widths(column: Column, heading: Text, cells: Iterable[Text]) -> _Widths:
    texts = [text.plain for text in cells]
    lines = [cell_len(line) for text in texts for line in text.split("\n")]
    full, word = max(lines, default=0), max(map(_longest_word, [heading.plain, *texts]))
    whole = (column.justify == "right" and full <= WIDEST_FIGURE) or column.no_wrap
    comfortable = COMFORTABLE if full <= LONG_TEXT else COMFORTABLE_IF_LONG
    return _Widths(
        full=max(full, *(cell_len(line) for line in heading.plain.split("\n"))),
        wanted=max(word, full if whole else min(full, comfortable)),
        least=max(word, full) if whole and column.justify == "right" else word,
    )


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _keys_fitted(sizes: Sequence[_Widths], room: int) -> list[int]:
    """Return the widths of the keys: whole, or as narrow as their words allow where they take too much room."""
    if sum(size.full for size in sizes) <= room:
        return [size.full for size in sizes]
    return _filled([size.least for size in sizes], [size.full for size in sizes], room)


def _split(sizes: Sequence[_Widths], room: int, *, squeeze: bool) -> list[list[int]] | None:
    """Return which columns stand side by side within ``room``, the gap before each included; None if one fits nowhere.

    Args:
        sizes: of the columns that are no keys.
        room: beside the keys.
        squeeze: a column that lacks room for what it should have may stand alone with what it must have.
    """
    parts: list[list[int]] = []
    left = 0
    for position, size in enumerate(sizes):
        if GAP + (size.least if squeeze else size.wanted) > room:
            return None
        if not parts or GAP + size.wanted > left:
            parts.append([])
            left = room
        parts[-1].append(position)
        left -= GAP + size.wanted
    return parts


def _spread(sizes: Sequence[_Widths], room: int) -> list[int]:
    """Return the widths of the columns of a part: what they should have and more, or less for one that stands alone."""
    room -= GAP * len(sizes)
    wanted = [min(size.wanted, room) for size in sizes]
    return _filled(wanted, [size.full for size in sizes], room)


def _filled(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Return widths from ``least`` to ``most`` that take up the room, where there is more than the least."""
    widths = list(least)
    left = room - sum(widths)
    by_need = sorted(range(len(widths)), key=lambda position: most[position] - least[position])
    for done, position in enumerate(by_need):
        more = max(0, min(most[position] - least[position], left // (len(widths) - done)))
        widths[position] += more
        left -= more
    return widths
