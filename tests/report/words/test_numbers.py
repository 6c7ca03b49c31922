import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.report.words.numbers import bytes_text, duration, number_of, si, tier_counts_text, tiers_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1.5, "1.5 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (1000, "1 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (2.5e6, "2.5 MB"),
        (-2.5e6, "-2.5 MB"),
        (1.234e9, "1.23 GB"),
        (4e12, "4 TB"),
        (3e15, "3 PB"),
        (5.5e18, "5.5 EB"),
    ],
)
def test_quantities_have_three_digits_and_a_decimal_prefix(value: float, text: str):
    assert si(value, "B") == text


def test_a_number_without_a_unit_ends_with_its_digits_or_their_prefix():
    assert [si(value, "") for value in (0, 12, 2.5e6)] == ["0", "12", "2.5 M"]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(1e-3, 9e20))
def test_quantities_keep_three_digits_and_need_no_exponent(value: float):
    number, unit = si(value, "B").split(" ")
    assert "e" not in number
    factor = 1000.0 ** ["B", "kB", "MB", "GB", "TB", "PB", "EB"].index(unit)
    assert float(number) * factor == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0123, "0.0123 s"),
        (12.3, "12.3 s"),
        (60, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (7199.7, "2 h 00 min"),
        (1e6, "277 h 46 min"),
    ],
)
def test_durations_are_written_in_two_units(seconds: float, text: str):
    assert duration(seconds) == text


def test_tiers_are_counted_in_ascending_order():
    assert tiers_text([3, 1, 3, 10, 3, 1, 3, 3]) == "1:2 3:5 10:1"
    assert tier_counts_text({7: 1, 2: 40}) == "2:40 7:1"
    assert tiers_text([]) == ""


def test_bytes_are_named_by_kind():
    assert bytes_text({"down_weights": 1500, "up_labels": 8}) == "down weights 1.5 kB, up labels 8 B"


@pytest.mark.parametrize(("count", "text"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds"), (1234, "1,234 rounds")])
def test_one_is_no_plural(count, text):
    assert number_of(count, "round") == text
