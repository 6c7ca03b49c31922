"""Where the commands write to: the terminal, files that the user names, standard output."""

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dtfl_private.errors import InputError
from dtfl_private.printable import printable_lines
from dtfl_private.runtime.files import output_path, write_atomic

# Wide enough for every table when the output goes to a file or a pipe.
PIPE_WIDTH = 180


class _PrintableConsole(Console):
    """A console that spells out what would steer the terminal, in whatever is shown on it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as any console does; only its own control codes and styles reach the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to render; cleaned here already, so that it is measured as it will be shown."""
        return super().render_str(printable_lines(text), **settings)


def open_console() -> Console:
    """Return the console that tables and lines are shown on."""
    # Names and paths are the user's: brackets and colons in them are no markup.
    console = _PrintableConsole(markup=False, emoji=False)
    return console if console.is_terminal else _PrintableConsole(width=PIPE_WIDTH, markup=False, emoji=False)


def write_json(target: str, value: object) -> None:
    """Write a value as JSON to a file, or to standard output for ``-``."""
    text = json.dumps(value, indent=2) + "\n"
    if target == "-":
        click.echo(text, nl=False)
        return
    write_file(target, text.encode())


def write_file(target: str, data: bytes) -> None:
    """Write a file that the user named.

    Raises:
        InputError: the system refuses it.
    """
    path = output_path(target)
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_bytes(data)
        else:
            write_atomic(path.resolve(), data)  # of a link, what it leads to
    except (OSError, ValueError) as error:
        raise InputError(f"'{target}' cannot be written: {error}") from None
