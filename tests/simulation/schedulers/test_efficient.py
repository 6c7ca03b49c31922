from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import FloatArray, IntArray, RoundEstimates, TierChoice
from dtfl_private.simulation.schedulers import efficient
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.simulation.schedulers.efficient import Efficient, Limit, columns_within, time_to_progress
from dtfl_private.simulation.schedulers.named import make_scheduler

SMALL = settings(max_examples=75, deadline=None, derandomize=True)
UNUSED = np.random.default_rng(0)
WITHIN = (1 + efficient.WORTHWHILE) * (1 + 1e-12)


def round_of(seed: int, clients: int, tiers: int, workers: int, change_rate: float = 0.0) -> TierChoice:
    """Return a made-up round: deeper tiers compute more on the client and less on the server."""
    rng = np.random.default_rng(seed)
    client_s = np.sort(rng.uniform(0.1, 10, (clients, tiers)), axis=1)
    server_s = -np.sort(-rng.uniform(0.1, 4, (clients, tiers)), axis=1)
    transfer_s = rng.uniform(0.1, 3, (clients, tiers))
    estimates = RoundEstimates(
        arrival_s_KM=transfer_s,
        streaming_s_KM=client_s,
        service_s_KM=server_s,
        server_workers=workers,
        images_K=rng.integers(1, 100, clients).astype(np.float64),
        first_tiers_K=np.zeros(clients, dtype=np.int64),
        change_rate=change_rate,
    )
    times_s = np.maximum(client_s, server_s) + transfer_s
    return TierChoice(times_s_KM=times_s, tiers_M=np.arange(1, tiers + 1), estimates=estimates)


def equal_clients(times_s: FloatArray, **told: Any) -> TierChoice:
    """Return a round of clients with equal data, before a server that has a worker for each and nothing to do."""
    clients, tiers = times_s.shape
    nothing = np.zeros_like(times_s)
    usual = {"arrival_s_KM": nothing, "streaming_s_KM": times_s, "service_s_KM": nothing, "server_workers": clients}
    usual |= {"images_K": np.ones(clients), "first_tiers_K": np.zeros(clients, dtype=np.int64)}
    return TierChoice(
        times_s_KM=times_s, tiers_M=np.arange(1, tiers + 1), estimates=RoundEstimates(**{**usual, **told})
    )


def lateness(choice: TierChoice, column_K: list[int], time_s: float, rate: float) -> float:
    """Return how much longer than this a round is expected to last, over all that can become of its clients.

    Who has changed has another's speed, and the mean number of images of its own tier.
    """
    assert choice.estimates is not None
    images, clients, total = choice.estimates.images_K, len(column_K), 0.0
    mean = {m: np.mean([images[k] for k in range(clients) if column_K[k] == m]) for m in column_K}
    for became in product([None, *range(clients)], repeat=clients):
        chance, late_s = 1.0, 0.0
        for other, m in zip(became, column_K, strict=True):
            chance *= 1 - rate if other is None else rate / clients
            if other is not None:
                late_s = max(late_s, choice.times_s_KM[other, m] * mean[m] / images[other] - time_s)
        total += chance * late_s
    return total


def all_served_s(estimates: RoundEstimates, column_K: list[int]) -> float:
    """Return when the workers have done all that comes in; the most that came in since some moment delays them."""
    rows = [
        tuple(float(part[k, m]) for part in (estimates.arrival_s_KM, estimates.streaming_s_KM, estimates.service_s_KM))
        for k, m in enumerate(column_K)
    ]
    moments = [moment for first, streaming, _ in rows for moment in (first, first + streaming)]

    def to_come(since: float) -> float:
        return sum(
            work * min(max((first + streaming - since) / streaming, 0.0), 1.0) for first, streaming, work in rows
        )

    return max(since + to_come(since) / estimates.server_workers for since in moments)


def cost(choice: TierChoice, tiers_K: IntArray, scheduler: Efficient) -> float:
    """Return a round's expected time per progress: the schedule played in plain loops."""
    estimates = choice.estimates
    assert estimates is not None
    column_K = [tier - 1 for tier in tiers_K.tolist()]
    done = [choice.times_s_KM[k, m] for k, m in enumerate(column_K)]
    if estimates.server_workers < len(done):
        done.append(all_served_s(estimates, column_K))
    reached_M = scheduler.progress(estimates, len(choice.tiers_M))
    images = estimates.images_K
    rate, time_s = estimates.change_rate, max(done)
    time_s += lateness(choice, column_K, time_s, rate) if rate else 0.0
    return time_s / (sum(images[k] * reached_M[m] for k, m in enumerate(column_K)) / images.sum())


sizes = st.tuples(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
ratios = st.sampled_from([0.625, 1.0, 1.6, 2.5])


@SMALL
@given(sizes, ratios)
def test_with_workers_for_all_no_assignment_is_better_by_what_is_worthwhile(size: tuple[int, int, int], ratio: float):
    choice = round_of(*size, workers=size[1])
    scheduler = Efficient(rounds_ratio=ratio)
    every = product(choice.tiers_M, repeat=size[1])
    least = min(cost(choice, np.array(tiers), scheduler) for tiers in every)
    assert least * (1 - 1e-9) <= cost(choice, scheduler.assign(choice, UNUSED), scheduler) <= least * WITHIN


@SMALL
@given(sizes, ratios, st.integers(1, 2))
def test_before_a_queue_no_limit_is_better_by_what_is_worthwhile(
    size: tuple[int, int, int], ratio: float, workers: int
):
    choice = round_of(*size, workers=workers)
    scheduler = Efficient(rounds_ratio=ratio)
    reached_M = scheduler.progress(choice.estimates, len(choice.tiers_M))
    best = []
    for limit in np.unique(choice.times_s_KM):
        fits = choice.times_s_KM <= limit
        if fits.any(axis=1).all():
            furthest = [max(np.flatnonzero(of_client), key=lambda m: (reached_M[m], m)) for of_client in fits]
            deepest = [max(np.flatnonzero(of_client)) for of_client in fits]
            best += [cost(choice, np.array(columns) + 1, scheduler) for columns in (furthest, deepest)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficient, "SHORTLIST", 100)
        assert cost(choice, scheduler.assign(choice, UNUSED), scheduler) <= min(best) * WITHIN


@pytest.mark.parametrize("workers", [1, 3, 40])
def test_by_its_own_estimates_it_is_hardly_worse_than_the_papers_scheduler(workers: int):
    scheduler, better = Efficient(rounds_ratio=1.6), 0
    for seed in range(60):
        choice = round_of(seed, 40, 6, workers)
        own, papers = (cost(choice, chosen.assign(choice, UNUSED), scheduler) for chosen in (scheduler, Dynamic()))
        assert own <= papers * WITHIN
        better += own < papers * (1 - 1e-9)
    assert better > 10


def test_the_queue_is_counted_as_the_simulation_counts_it():
    for seed in range(20):
        choice = round_of(seed, 6, 4, 2)
        assert choice.estimates is not None
        column_K = np.random.default_rng(seed).integers(0, 4, 6)
        reached_M = Efficient().progress(choice.estimates, 4)
        by_hand = cost(choice, column_K + 1, Efficient())
        assert time_to_progress(column_K, choice.times_s_KM, choice.estimates, reached_M) == pytest.approx(by_hand)


@pytest.mark.parametrize("change_rate", [0.02, 0.3, 1.0])
def test_changes_are_expected_as_all_that_can_happen_says(change_rate: float):
    for seed in range(10):
        choice = round_of(seed, 4, 3, 2, change_rate)
        assert choice.estimates is not None
        column_K = np.random.default_rng(seed).integers(0, 3, 4)
        reached_M = Efficient().progress(choice.estimates, 3)
        by_hand = cost(choice, column_K + 1, Efficient())
        assert time_to_progress(column_K, choice.times_s_KM, choice.estimates, reached_M) == pytest.approx(by_hand)


def test_a_client_that_stands_for_others_is_as_many_chances_to_be_late():
    choice = round_of(1, 4, 3, 4, 0.1)
    assert choice.estimates is not None
    twice = TierChoice(
        times_s_KM=np.repeat(choice.times_s_KM, 2, axis=0),
        tiers_M=choice.tiers_M,
        estimates=replace(choice.estimates, server_workers=8, images_K=np.repeat(choice.estimates.images_K, 2)),
    )
    assert twice.estimates is not None
    column_K, reached_M = np.array([2, 0, 1, 2]), np.ones(3)
    few = time_to_progress(column_K, choice.times_s_KM, choice.estimates, reached_M, every=2)
    assert few == pytest.approx(time_to_progress(column_K.repeat(2), twice.times_s_KM, twice.estimates, reached_M))


@SMALL
@given(sizes, ratios, st.sampled_from([0.02, 0.3]))
def test_with_changes_it_is_hardly_worse_than_the_papers_scheduler(
    size: tuple[int, int, int], ratio: float, change_rate: float
):
    """By the expected time of its own estimates, of which it may give away `WORTHWHILE` for less offloading."""
    choice, scheduler = round_of(*size, workers=size[1], change_rate=change_rate), Efficient(rounds_ratio=ratio)
    own, papers = (cost(choice, chosen.assign(choice, UNUSED), scheduler) for chosen in (scheduler, Dynamic()))
    assert own <= papers * WITHIN


def test_clients_that_may_turn_slow_offload_more_if_it_pays():
    """Fast clients need one second in either tier; the slow one needs one in tier 1 and nine in tier 2."""
    times_s = np.array([[1.0, 0.9]] * 4 + [[1.0, 9.0]])
    for change_rate, expected in {0.0: [2, 2, 2, 2, 1], 0.001: [2, 2, 2, 2, 1], 0.05: [1, 1, 1, 1, 1]}.items():
        choice = equal_clients(times_s, change_rate=change_rate)
        assert Efficient().assign(choice, UNUSED).tolist() == expected
        # Where the deep tier gets far enough, the risk is worth it.
        assert Efficient(rounds_ratio=2.5).assign(choice, UNUSED).tolist() == [2, 2, 2, 2, 1]
        assert Dynamic().assign(choice, UNUSED).tolist() == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("gain", [-1e-6, 0.0, 1e-6])
def test_nobody_offloads_more_for_next_to_nothing(gain: float):
    """Equal times under the paper's limit, and an effect of depth of a ten-millionth: the fast clients stay deep."""
    times_s = np.array([[0.9, 0.5]] * 6 + [[1.0, 9.0]] * 4)
    choice = equal_clients(times_s, depth_spread=0.01, depth_gain=gain)
    assert Efficient().assign(choice, UNUSED).tolist() == [2] * 6 + [1] * 4


@pytest.mark.parametrize("gain", [-0.004, 0.0, 0.004])
def test_hardly_any_effect_of_depth_hardly_changes_what_a_saturated_server_is_spared(gain: float):
    """A slope that is next to nothing, of either sign, does not send all clients to a queue that is twice as long."""
    choice = round_of(5, 8, 4, 1)
    assert choice.estimates is not None
    learnt = replace(choice, estimates=replace(choice.estimates, depth_spread=0.01, depth_gain=gain))
    neutral = cost(choice, Efficient().assign(choice, UNUSED), Efficient())
    assert cost(choice, Efficient().assign(learnt, UNUSED), Efficient()) == pytest.approx(neutral, rel=0.01)
    assert cost(choice, np.ones(8, dtype=np.int64), Efficient()) > 1.5 * neutral


def test_who_has_no_open_tier_within_the_limit_keeps_its_own():
    limit = Limit(seconds=2.0, open_M=np.array([True, False, False]), rank_M=np.arange(3))
    times_s = np.array([[1.0, 1.0, 3.0], [3.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    assert columns_within(limit, times_s).tolist() == [0, 2, 0]
    reversed_ranks = replace(limit, rank_M=np.array([2, 1, 0]))
    assert columns_within(reversed_ranks, times_s).tolist() == [0, 1, 0]


def test_a_saturated_server_makes_it_offload_less():
    # Both tiers are equally good for two clients alone; one worker has to serve them one after the other.
    server_s: FloatArray = np.array([[4.0, 1.0], [4.0, 1.0]])
    times_s = np.array([[4.0, 6.0], [4.0, 6.0]])
    tiers = []
    for workers in (1, 2):
        choice = equal_clients(times_s, service_s_KM=server_s, server_workers=workers)
        tiers.append(Efficient(rounds_ratio=1).assign(choice, UNUSED).tolist())
        assert Dynamic().assign(choice, UNUSED).tolist() == [1, 1]
    assert tiers == [[2, 2], [1, 1]]


def test_many_clients_are_decided_by_some_of_them():
    # Twelve equal copies: any of them stands for the rest, and so does any number of workers for its multiple.
    few = round_of(3, 1000, 5, 10)
    assert few.estimates is not None
    estimates = RoundEstimates(
        arrival_s_KM=np.repeat(few.estimates.arrival_s_KM, 12, axis=0),
        streaming_s_KM=np.repeat(few.estimates.streaming_s_KM, 12, axis=0),
        service_s_KM=np.repeat(few.estimates.service_s_KM, 12, axis=0),
        server_workers=120,
        images_K=np.repeat(few.estimates.images_K, 12),
        first_tiers_K=np.zeros(12_000, dtype=np.int64),
    )
    many = TierChoice(times_s_KM=np.repeat(few.times_s_KM, 12, axis=0), tiers_M=few.tiers_M, estimates=estimates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficient, "EXACT", 1000)
        assert np.array_equal(Efficient().assign(many, UNUSED), np.repeat(Efficient().assign(few, UNUSED), 12))
    # With changes there are twelve times as many chances to be late, whoever decides.
    changing = replace(many, estimates=replace(many.estimates, change_rate=0.1))
    exact = Efficient().assign(changing, UNUSED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficient, "EXACT", 12_000)
        assert np.array_equal(Efficient().assign(changing, UNUSED), exact)
    assert not np.array_equal(exact, Efficient().assign(many, UNUSED))


def test_progress_is_the_prior_until_the_rounds_say_otherwise():
    scheduler = make_scheduler("efficient", np.arange(1, 6))
    papers = Efficient(rounds_ratio=1.6)
    told = {"server_workers": 1} | dict.fromkeys(("arrival_s_KM", "streaming_s_KM", "service_s_KM"), np.ones((1, 5)))
    told |= {"images_K": np.ones(1), "first_tiers_K": np.zeros(1, dtype=np.int64)}
    assert scheduler == Efficient(rounds_ratio=1)
    assert Efficient().progress(RoundEstimates(**told), 5) == pytest.approx([1.0] * 5)
    assert papers.progress(RoundEstimates(**told), 5) == pytest.approx([0.625, 0.71875, 0.8125, 0.90625, 1.0])
    # As much evidence as the prior weighs, of a slope of -0.075: the mean of that and 0.375.
    equal = RoundEstimates(**told, depth_spread=efficient.EVIDENCE, depth_gain=-0.075 * efficient.EVIDENCE)
    assert papers.progress(equal, 3) == pytest.approx([0.85, 0.925, 1.0])
    absurd = RoundEstimates(**told, depth_spread=1e-3, depth_gain=1e9)
    assert papers.progress(absurd, 2) == pytest.approx([0.4, 1.0])
    assert papers.progress(absurd, 1) == pytest.approx([1.0])


@pytest.mark.parametrize("ratio", ["0.5", "3", "nan", "much"])
def test_an_absurd_prior_is_refused(ratio: str):
    with pytest.raises(InputError, match="rounds_ratio"):
        make_scheduler(f"efficient:rounds_ratio={ratio}", np.arange(1, 6))
