"""Sentences below tables and displays, on any console."""

from rich.cells import cell_len
from rich.console import Console


def print_line(console: Console, text: str, style: str | None = None) -> None:
    """Print one fact: on a terminal broken between words, never inside one; elsewhere as one line, to be searched.

    Words that are too long for the terminal, as paths, are left to it, so that they can be copied from it whole.
    """
    shown = broken_between_words(text, console.width) if console.is_terminal else text
    console.print(shown, style=style, highlight=False, soft_wrap=True)


def broken_between_words(text: str, width: int) -> str:
    """Return a text with line breaks in place of spaces, so that its lines fit where their words do."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
