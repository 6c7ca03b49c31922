import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.simulation.clock import VirtualClock

DURATIONS = st.floats(min_value=0, max_value=1e300)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(DURATIONS, max_size=20))
def test_clock_never_runs_back_and_adds_up(durations: list[float]):
    clock = VirtualClock()
    total = 0.0
    for duration in durations:
        later = clock.advance(duration)
        total += duration
        assert later.now_s >= clock.now_s
        assert later.now_s == total
        clock = later


@pytest.mark.parametrize("duration", [-1e-9, -math.inf, math.inf, math.nan])
def test_clock_refuses_to_run_back_or_to_a_moment_that_is_none(duration: float):
    with pytest.raises(ValueError, match="cannot advance"):
        VirtualClock(now_s=5.0).advance(duration)


def test_advancing_leaves_the_old_moment_alone():
    start = VirtualClock(now_s=1.0)
    start.advance(2.0)
    assert start.now_s == 1.0
