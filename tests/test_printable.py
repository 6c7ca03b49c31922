import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.errors import GateCrossedError, InputError, unknown_name
from dtfl_private.printable import (
    LONGEST_LINE,
    LONGEST_NAME,
    LONGEST_VALUE,
    LONGEST_WORD,
    cut,
    one_line,
    printable,
    short_name,
    shown_value,
)

LEFT_OUT = len("[... 1,000,000 characters ...]")


@pytest.mark.parametrize("text", ["", "cat", "猫 und Übergröße", "C:\\new", "a 'quoted' $name$ [red]", "😀"])
def test_what_can_be_shown_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("two\nlines\tand\rmore", r"two\nlines\tand\rmore"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),  # DEL, and the one-byte start of a control sequence
        ("abc\u202edcba", r"abc\u202edcba"),
        ("\u2066\u200f\ufeff", r"\u2066\u200f\ufeff"),
        ("name\udcff", r"name\udcff"),  # a byte of a file name that is no UTF-8
        ("a\u2028b", r"a\u2028b"),
        ("wide\u3000and\xa0fixed", "wide and fixed"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_would_steer_a_terminal_is_spelled_out(text, shown):
    assert printable(text) == shown


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_becomes_printable_and_stays_so(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert one_line(text).isprintable()
    printable(text).encode("utf-8")


def test_a_long_text_keeps_both_ends_and_says_how_much_is_left_out():
    assert cut("abcdefghi", 9) == "abcdefghi"
    assert cut("abcdefghij", 9) == "abcdef[... 1 characters ...]hij"
    assert cut("a" * 10_000, 300) == "a" * 200 + "[... 9,700 characters ...]" + "a" * 100


def test_a_line_keeps_what_to_do_behind_a_long_value():
    line = one_line(f"value '{'v' * 10_000}' is refused:\nexpected  a number")
    assert line.startswith("value 'vvv")
    assert line.endswith("vvv' is refused: expected a number")
    assert len(line) < LONGEST_WORD + 100
    assert len(one_line("many words " * 10_000)) <= LONGEST_LINE + LEFT_OUT


def test_a_name_is_short():
    assert short_name("x\n") == r"x\n"
    assert len(short_name("x" * 255)) <= LONGEST_NAME + LEFT_OUT


def test_a_value_is_shown_however_large_or_deep():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown_value("a\x1b") == r"'a\x1b'"
    assert shown_value(16**5000) == shown_value(-(16**5000)) == "of the kind int, too large to show,"
    assert "list" in shown_value(deep)
    assert len(shown_value(list(range(10_000)))) <= LONGEST_VALUE + LEFT_OUT


@pytest.mark.parametrize(
    "error",
    [
        InputError("value '" + "\x1b[31m" * 5000 + "' is refused"),
        unknown_name("dataset", "x" * 10_000, ["digits"]),
        GateCrossedError(["ssim\x1b[2J " + "x" * 10_000]),
    ],
)
def test_every_error_can_be_shown(error):
    for line in getattr(error, "lines", [str(error)]):
        assert line.isprintable()
        assert len(line) <= LONGEST_LINE + LEFT_OUT
