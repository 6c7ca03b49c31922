from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dtfl_private.simulation import two_limits
from dtfl_private.simulation.two_limits import TwoLimits, best_two_limits

Cases = tuple[list[list[float]], list[list[float]], list[float]]


@st.composite
def small_cases(draw: st.DrawFn) -> Cases:
    """Draw times and costs of up to four clients in up to four tiers, and what each may spend, which it can keep."""
    tiers = draw(st.integers(1, 4))
    seconds = st.integers(1, 9).map(float)
    prices = st.integers(0, 10).map(lambda tenths: tenths / 10)
    clients = draw(st.integers(1, 4))
    times = [draw(st.lists(seconds, min_size=tiers, max_size=tiers)) for _ in range(clients)]
    costs = [draw(st.lists(prices, min_size=tiers, max_size=tiers)) for _ in range(clients)]
    return times, costs, [min(of_client) + draw(prices) for of_client in costs]


def price(times: list[float], costs: list[float], limit: float) -> float:
    return min(cost for seconds, cost in zip(times, costs, strict=True) if seconds <= limit)


def limits_of(times: list[list[float]]) -> list[float]:
    possible = max(min(of_client) for of_client in times)
    return sorted({seconds for of_client in times for seconds in of_client if seconds >= possible})


def found(times: list[list[float]], costs: list[list[float]], most: list[float]) -> TwoLimits:
    return best_two_limits(np.array(times), np.array(costs), np.array(most))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small_cases())
def test_nobody_spends_more_on_average_and_no_two_limits_are_better(case: Cases):
    times, costs, most = case
    best = found(*case)
    assert 0 <= best.share <= 1
    for of_client, prices, allowed in zip(times, costs, most, strict=True):
        shorter, longer = (price(of_client, prices, limit) for limit in (best.shorter_s, best.longer_s))
        assert best.share * shorter + (1 - best.share) * longer <= allowed + 1e-12
    for shorter_s, longer_s in product(limits_of(times), repeat=2):
        for share in np.linspace(0, 1, 11):
            mean = [
                share * price(of_client, prices, shorter_s) + (1 - share) * price(of_client, prices, longer_s)
                for of_client, prices in zip(times, costs, strict=True)
            ]
            if all(spent <= allowed for spent, allowed in zip(mean, most, strict=True)):
                assert best.mean_s <= share * shorter_s + (1 - share) * longer_s + 1e-9


@settings(max_examples=50, deadline=None, derandomize=True)
@given(small_cases())
def test_for_one_client_no_mixture_of_any_number_of_limits_is_better(case: Cases):
    times, costs, most = (part[:1] for part in case)
    limits = limits_of(times)
    prices = [[price(times[0], costs[0], limit) for limit in limits]]
    optimum = linprog(limits, A_ub=prices, b_ub=most, A_eq=[[1.0] * len(limits)], b_eq=[1.0])
    assert found(times, costs, most).mean_s == pytest.approx(optimum.fun)


def test_a_budget_without_end_takes_the_shortest_rounds_and_none_the_cheapest():
    times, costs = [[1.0, 5.0], [2.0, 3.0]], [[0.9, 0.1], [0.9, 0.1]]
    assert found(times, costs, [np.inf, np.inf]) == TwoLimits(share=1.0, shorter_s=2.0, longer_s=2.0)
    assert found(times, costs, [0.1, 0.1]) == TwoLimits(share=1.0, shorter_s=5.0, longer_s=5.0)
    half = found(times, costs, [0.5, 0.5])
    assert (half.shorter_s, half.longer_s, half.mean_s) == (2.0, 5.0, 3.5)


def test_the_shorter_limit_comes_first_as_long_as_there_is_a_whole_round_of_it():
    plan = TwoLimits(share=0.25, shorter_s=1.0, longer_s=4.0)
    assert [plan.next_s(rounds) for rounds in (8, 4, 3.9, 1)] == [1.0, 1.0, 4.0, 4.0]


def test_of_many_limits_and_clients_some_are_looked_at(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    times, costs = 1 + rng.random((400, 5)), rng.random((400, 5))
    most = costs.min(axis=1) + 0.2
    exact = best_two_limits(times, costs, most)
    monkeypatch.setattr(two_limits, "MOST_LIMITS", 4000)
    finer = best_two_limits(times, costs, most)
    assert finer.mean_s <= exact.mean_s <= 1.1 * finer.mean_s
    monkeypatch.setattr(two_limits, "MOST_CLIENTS", 100)
    assert best_two_limits(times, costs, most) == best_two_limits(times[::4], costs[::4], most[::4])
