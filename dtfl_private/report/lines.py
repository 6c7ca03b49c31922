"""Sentences below tables and displays, on any console."""

from rich.console import Console


def print_line(console: Console, text: str, style: str | None = None) -> None:
    """Print one fact: on a terminal broken between words, never inside one; elsewhere as one line, to be searched."""
    if console.is_terminal:
        # Words that are too long, as paths, are left to the terminal, from which they can then be copied.
        console.print(text, style=style, highlight=False, overflow="ignore", crop=False)
    else:
        console.print(text, style=style, highlight=False, soft_wrap=True)
