"""The console on which tables and lines are shown."""

import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dtfl_private.cli.encoding import encodable
from dtfl_private.printable import printable_lines

# Wide enough for every table when the output goes to a file or a pipe.
PIPE_WIDTH = 180

# Of a width that the environment asks for: no word is whole in less; and of how many digits it may be.
LEAST_WIDTH = 20
MOST_DIGITS = 5


class _PrintableConsole(Console):
    """A console that spells out what would steer the terminal, in whatever is shown on it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as any console does; only its own control codes and styles reach the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to render; cleaned and spelled here already, so that it is measured as it will be shown."""
        return super().render_str(encodable(printable_lines(text), self.encoding), **settings)


def open_console(*, stderr: bool = False) -> Console:
    """Return the console that tables and lines are shown on; as wide as $COLUMNS says, if it says so.

    Args:
        stderr: show them on standard error.
    """
    # Names and paths are the user's: brackets and colons in them are no markup.
    settings: dict[str, Any] = {"markup": False, "emoji": False, "stderr": stderr}
    console = _PrintableConsole(**settings, width=_asked_width())
    if console.is_terminal or _asked_width() is not None:
        return console
    return _PrintableConsole(**settings, width=PIPE_WIDTH)


def _asked_width() -> int | None:
    """Return the width that the environment asks for; None if it does not, or asks for one that holds no word."""
    text = os.environ.get("COLUMNS", "")
    is_width = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and int(text) > 0
    return max(int(text), LEAST_WIDTH) if is_width else None
