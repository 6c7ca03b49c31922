"""Output in any encoding: a character that it lacks is spelled in others."""

import codecs
import io
import sys
from typing import TextIO

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


def encodable(text: str, encoding: str) -> str:
    """Return a text with the characters that an encoding lacks spelled in others."""
    return text.encode(encoding, errors=SPELLING).decode(encoding)
