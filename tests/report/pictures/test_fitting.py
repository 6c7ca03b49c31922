import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.report.pictures.fitting import LEAST_SHARE, ROOM, fitted

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(SHARES)
def test_all_values_lie_within_with_room_and_beyond_the_limits_there_is_room_only(values):
    low, high = fitted(values, (0.0, 1.0))
    assert low < min(values)
    assert max(values) < high
    assert high - low >= LEAST_SHARE
    assert low >= -2 * ROOM
    assert high <= 1 + 2 * ROOM


def test_an_axis_is_not_mostly_empty():
    assert fitted([0.9, 0.98], (0.0, 1.0))[0] > 0.85
    assert fitted([12.0, 12.1], (0.0, 100.0))[1] - fitted([12.0, 12.1], (0.0, 100.0))[0] == pytest.approx(1.21 * 1.12)
    assert fitted([0.0], None) == pytest.approx((-0.56, 0.56))


def test_what_lies_at_a_limit_keeps_its_span():
    low, high = fitted([1.0], (-1.0, 1.0))
    assert (low, high) == pytest.approx((0.9 - 0.006, 1.006))
