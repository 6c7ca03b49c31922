"""Where the commands write to: the terminal, files that the user names, standard output."""

import codecs
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path, require_writable, write_atomic
from dtfl_private.printable import printable_lines

# Wide enough for every table when the output goes to a file or a pipe.
PIPE_WIDTH = 180


class _PrintableConsole(Console):
    """A console that spells out what would steer the terminal, in whatever is shown on it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as any console does; only its own control codes and styles reach the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to render; cleaned and spelled here already, so that it is measured as it will be shown."""
        return super().render_str(_encodable(printable_lines(text), self.encoding), **settings)


# The characters outside ASCII that the program itself writes, as they are spelled where the encoding lacks them.
SPELLED = {"±": "+/-", "▲": "^", "◆": "*", "○": "o", "✕": "x", "…": "..."}

# The name under which Python looks up `_spelled`.
SPELLING = "dtfl-private-spelled"


def never_fail_on_characters() -> None:
    """Let standard output and standard error take any text, whatever their encoding.

    A character that the encoding lacks is spelled in others; names and paths of the user's may hold anything. The files
    that the program writes are UTF-8 in any case.
    """
    for stream in (sys.stdout, sys.stderr):
        let_pass(stream)


def let_pass(stream: TextIO) -> None:
    """Let a text stream take any text; a stream that is no encoder's, as a test's, is left as it is."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=SPELLING)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what to write for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelled = "".join(SPELLED.get(character) or _escaped(character) for character in text)
    return spelled, error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", errors="backslashreplace").decode("ascii")


codecs.register_error(SPELLING, _spelled)


def _encodable(text: str, encoding: str) -> str:
    """Return a text with the characters that an encoding lacks spelled in others."""
    return text.encode(encoding, errors=SPELLING).decode(encoding)


def open_console() -> Console:
    """Return the console that tables and lines are shown on."""
    # Names and paths are the user's: brackets and colons in them are no markup.
    console = _PrintableConsole(markup=False, emoji=False)
    return console if console.is_terminal else _PrintableConsole(width=PIPE_WIDTH, markup=False, emoji=False)


def check_targets(*targets: str | None, picture: str | None = None) -> None:
    """Check before any work that the files that the user named can be written; ``-`` is standard output.

    Args:
        targets: names of files, or None where none is asked for.
        picture: name of a PNG picture.

    Raises:
        InputError: one cannot be written, or its name is that of another kind of picture.
    """
    if picture is not None and Path(picture).suffix.lower() not in ("", ".png"):
        raise InputError(f"picture '{picture}' is refused: it is a PNG, so let its name end in .png")
    for target in (*targets, picture):
        if target is None or target == "-":
            continue
        path = output_path(target)
        if path.is_dir():
            raise InputError(f"'{target}' cannot be written: it is a folder")
        if not path.exists() or path.is_file():
            require_present(path.resolve().parent, target)


def require_present(folder: Path, target: str) -> None:
    """Check that a file can be made in a folder, which must be there."""
    if not folder.is_dir():
        raise InputError(f"'{target}' cannot be written: there is no folder '{folder}'")
    require_writable(folder, f"'{target}' cannot be written")


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
