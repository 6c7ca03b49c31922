"""Texts of unknown origin made fit to be shown: what would steer a terminal is spelled out, what is long is cut.

Names of files, values of configurations and words of reports may come from anybody. Every error line, table, picture
and report passes them through here.
"""

import unicodedata

# Longer than any file name (255) with a folder or two.
LONGEST_WORD = 300
LONGEST_LINE = 1500
LONGEST_VALUE = 200
LONGEST_NAME = 40


def printable(text: str) -> str:
    r"""Return a text with what is not printable spelled out: ESC becomes ``\x1b``, a line break ``\n``.

    That is control characters, marks that turn the direction of writing, halves of surrogate pairs (bytes of a file
    name that are no UTF-8) and code points without a meaning. Wide and unbreakable spaces become plain ones.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _spelled_out(character) for character in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines that may be shown: each of them `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def _spelled_out(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def cut(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters as it is; of a longer one, both ends and how much is left out."""
    if len(text) <= most:
        return text
    head = 2 * most // 3
    tail = most - head
    return f"{text[:head]}[... {len(text) - most:,} characters ...]{text[len(text) - tail :]}"


def one_line(text: str) -> str:
    """Return a message as one line that may be shown: each word of it printable and cut, and the whole cut."""
    return cut(" ".join(cut(printable(word), LONGEST_WORD) for word in text.split()), LONGEST_LINE)


def short_name(text: str) -> str:
    """Return a name for tables, legends and lists: printable, and cut."""
    return cut(printable(text), LONGEST_NAME)


def shown_value(thing: object) -> str:
    """Return a value that a file gave, as Python writes it: printable and cut, however large or deep it is."""
    try:
        text = repr(thing)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        text = f"of the kind {type(thing).__name__}, too large to show,"
    return cut(printable(text), LONGEST_VALUE)
