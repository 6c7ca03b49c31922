from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import FloatArray, IntArray, RoundEstimates, TierChoice
from dtfl_private.simulation.schedulers.baseline_schedulers import LastValue, Oracle, Random, Static, StaticProfile
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.simulation.schedulers.named import make_scheduler

TIERS = np.array([2, 3, 5, 7])


@st.composite
def small_times(draw: st.DrawFn) -> list[list[float]]:
    """Draw times of up to four clients in up to four tiers; few different values, so that ties are common."""
    tiers = draw(st.integers(1, 4))
    seconds = st.one_of(st.integers(1, 5).map(float), st.floats(0.01, 100))
    return draw(st.lists(st.lists(seconds, min_size=tiers, max_size=tiers), min_size=1, max_size=4))


def choice(times: list[list[float]]) -> TierChoice:
    return TierChoice(times_s_KM=np.array(times), tiers_M=TIERS[: len(times[0])])


def columns(scheduler: Dynamic | Static | Random, times: list[list[float]], seed: int = 0) -> list[int]:
    """Return the chosen columns of the table of times."""
    offered = choice(times)
    return np.searchsorted(offered.tiers_M, scheduler.assign(offered, np.random.default_rng(seed))).tolist()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small_times())
def test_dynamic_is_the_papers_rule_its_round_as_short_as_any_and_no_client_could_go_deeper(times: list[list[float]]):
    chosen = columns(Dynamic(), times)
    t_max = max(min(of_client) for of_client in times)
    assert chosen == [max(m for m, seconds in enumerate(of_client) if seconds <= t_max) for of_client in times]
    round_time = max(times[k][m] for k, m in enumerate(chosen))
    every_assignment = product(range(len(times[0])), repeat=len(times))
    assert round_time == min(max(times[k][m] for k, m in enumerate(assigned)) for assigned in every_assignment)
    for k, m in enumerate(chosen):
        assert all(seconds > round_time for seconds in times[k][m + 1 :])


def test_dynamic_takes_the_deeper_of_two_equal_tiers_and_may_skip_a_slow_one():
    assert columns(Dynamic(), [[4.0, 4.0, 9.0], [1.0, 9.0, 4.0]]) == [1, 2]


@pytest.mark.parametrize("scheduler", [Dynamic(), Static(3), Random()])
def test_schedulers_leave_the_times_alone_and_name_allowed_tiers(scheduler: Dynamic | Static | Random):
    times = np.array([[4.0, 2.0, 1.0, 3.0]] * 5)
    tiers = scheduler.assign(TierChoice(times_s_KM=times, tiers_M=TIERS), np.random.default_rng(0))
    assert times.tolist() == [[4.0, 2.0, 1.0, 3.0]] * 5
    assert tiers.shape == (5,)
    assert np.issubdtype(tiers.dtype, np.integer)
    assert set(tiers.tolist()) <= set(TIERS.tolist())


def test_static_gives_every_client_its_tier_whatever_the_times():
    assert columns(Static(5), [[1.0, 2.0, 99.0], [3.0, 1.0, 99.0]]) == [2, 2]


@pytest.mark.parametrize("tier", [1, 4, 8])
def test_static_refuses_a_tier_that_is_not_allowed(tier: int):
    with pytest.raises(InputError, match=rf"static:{tier} names a tier .* here: tiers 2, 3, 5, 7 are"):
        make_scheduler(f"static:{tier}", TIERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("static", "needs a value for 'm'"),
        ("static:0", "greater than or equal to 1"),
        ("static:two", "valid integer"),
        ("static:tier=2", "unknown setting of scheduler 'static' 'tier'"),
        ("dynamic:2", "takes no settings"),
        ("dinamic", "did you mean 'dynamic'"),
    ],
)
def test_wrong_scheduler_is_refused_before_the_first_round(text: str, said: str):
    with pytest.raises(InputError, match=said):
        make_scheduler(text, TIERS)


@pytest.mark.parametrize("scheduler", [LastValue(), Oracle(), StaticProfile()])
def test_relatives_of_the_papers_scheduler_choose_by_its_rule(scheduler: Dynamic):
    times = [[4.0, 4.0, 9.0], [1.0, 9.0, 4.0]]
    assert columns(scheduler, times) == columns(Dynamic(), times)


def test_static_profile_keeps_the_tiers_that_clients_once_had():
    times = np.array([[1.0, 2.0, 3.0]] * 3)
    estimates = RoundEstimates(
        arrival_s_KM=times,
        streaming_s_KM=times,
        service_s_KM=times,
        server_workers=3,
        images_K=np.ones(3),
        first_tiers_K=np.array([0, 5, 3]),
    )
    chosen = TierChoice(times_s_KM=times, tiers_M=TIERS[:3], estimates=estimates)
    assert StaticProfile().assign(chosen, np.random.default_rng(0)).tolist() == [2, 5, 3]


def test_schedulers_are_found_by_name():
    assert make_scheduler("last-value", TIERS) == LastValue()
    assert make_scheduler("static-profile", TIERS) == StaticProfile()
    assert make_scheduler("oracle", TIERS) == Oracle()
    assert make_scheduler("dynamic", TIERS) == Dynamic()
    assert make_scheduler("static:5", TIERS) == make_scheduler("static:m=5", TIERS) == Static(5)
    assert make_scheduler("random", TIERS) == Random()


def test_random_depends_on_the_stream_alone():
    times = [[1.0, 2.0, 3.0]] * 50
    assert columns(Random(), times, seed=1) == columns(Random(), times, seed=1)
    assert columns(Random(), times, seed=1) != columns(Random(), times, seed=2)


def test_a_million_clients_are_scheduled_like_a_few():
    few: FloatArray = np.random.default_rng(0).integers(1, 50, size=(1000, 4)).astype(np.float64)
    many: IntArray = Dynamic().assign(
        TierChoice(times_s_KM=np.tile(few, (1000, 1)), tiers_M=TIERS), np.random.default_rng(0)
    )
    expected = Dynamic().assign(TierChoice(times_s_KM=few, tiers_M=TIERS), np.random.default_rng(0))
    assert np.array_equal(many, np.tile(expected, 1000))
