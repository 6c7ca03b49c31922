"""Small HTML for notebooks: no scripts, nothing loaded, no colours but those of badges, so that any theme shows it.

Every text is escaped, and what is not printable is spelled out.
"""

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from dtfl_private.printable import printable_lines

# Of longer tables the ends are shown.
MOST_ROWS = 40

# White on these is legible, and these are on light and on dark pages.
BADGES = {"bad": "#b3261e", "doubtful": "#8a5a00", "neutral": "#4a5568"}


def text_html(text: str) -> Markup:
    """Return a text, escaped."""
    return escape(printable_lines(text))


def badge_html(text: str, kind: str) -> Markup:
    """Return a word in a coloured box; ``kind`` is one of `BADGES`."""
    style = f"background:{BADGES[kind]};color:#fff;padding:0 .5em;border-radius:.5em;white-space:nowrap"
    return Markup('<span style="{}">{}</span>').format(style, text_html(text))


def table_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()) -> str:
    """Return a table with its title above and notes below.

    Args:
        title: in one line.
        columns: their names; none at all leave the line of names out.
        rows: cells, texts or what is shown as text; what is `Markup` is taken as it is. Without any there is no table.
        notes: lines below.
    """
    head = Markup("<thead><tr>{}</tr></thead>").format(_cells(columns, "th")) if columns else ""
    body = Markup().join(Markup("<tr>{}</tr>").format(_cells(row, "td")) for row in _ends(list(rows)))
    below = Markup().join(Markup("<div>{}</div>").format(text_html(note)) for note in notes)
    table = Markup("<table>{}<tbody>{}</tbody></table>").format(head, body) if body else ""
    return str(Markup("<div><div><b>{}</b></div>{}{}</div>").format(text_html(title), table, below))


def _cells(row: Sequence[object], tag: str) -> Markup:
    cells = (cell if isinstance(cell, Markup) else text_html(str(cell)) for cell in row)
    return Markup().join(Markup('<{0} style="text-align:left">{1}</{0}>').format(tag, cell) for cell in cells)


def _ends(rows: Sequence[Sequence[object]]) -> Sequence[Sequence[object]]:
    if len(rows) <= MOST_ROWS:
        return rows
    half = MOST_ROWS // 2
    return [*rows[:half], ["..."], *rows[-half:]]
