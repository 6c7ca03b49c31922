import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.estimates import NEVER, History, Observation, estimate, observe
from dtfl_private.simulation.transfer_time import transfer_s

CLIENTS = 3
TIERS = (2, 3, 5)


def cost(tier: int, *, client_macs: int, server_macs: int, smashed: int, label: int, weights: int) -> TierCost:
    return TierCost(
        tier=tier,
        cut_shape=(1,),
        client_params=0,
        server_params=0,
        head_params=0,
        client_forward_macs=0,
        client_train_macs=client_macs,
        server_train_macs=server_macs,
        smashed_bytes=smashed,
        label_bytes=label,
        weight_bytes=weights,
    )


@st.composite
def tables(draw: st.DrawFn) -> TierTable:
    number = st.integers(1, 10**6)
    rows = [
        cost(
            tier,
            client_macs=draw(number),
            server_macs=draw(number),
            smashed=draw(number),
            label=draw(st.integers(0, 64)),
            weights=draw(number),
        )
        for tier in TIERS
    ]
    return TierTable(rows=tuple(rows), forward_macs=1)


SECONDS = st.floats(1e-6, 1e3)
# One measured client: column of its tier, seconds per image, link up and down, latency.
SAMPLE = st.tuples(st.integers(0, 2), SECONDS, SECONDS, SECONDS, st.floats(0, 1))
ROUNDS = st.lists(st.dictionaries(st.integers(0, CLIENTS - 1), SAMPLE, min_size=1), min_size=1, max_size=8)


def observation(round_: dict[int, tuple[int, float, float, float, float]]) -> Observation:
    column, seconds, up, down, latency = (np.array(values) for values in zip(*round_.values(), strict=True))
    return Observation(
        clients_P=np.array(list(round_)),
        column_P=column,
        seconds_P=seconds,
        up_bytes_s_P=up,
        down_bytes_s_P=down,
        latency_s_P=latency,
    )


def observed(rounds: list[dict[int, tuple[int, float, float, float, float]]], beta: float) -> History:
    history = History.empty(CLIENTS, len(TIERS))
    for round_ in rounds:
        history = observe(history, observation(round_), np.array(TIERS), beta)
    return history


@settings(max_examples=50, deadline=None, derandomize=True)
@given(ROUNDS, st.floats(0.01, 1))
def test_history_is_a_moving_average_per_client_and_tier(
    rounds: list[dict[int, tuple[int, float, float, float, float]]], beta: float
):
    average: dict[tuple[int, int], float] = {}
    last: dict[int, tuple[int, float, float, float, float]] = {}
    for round_ in rounds:
        for client, sample in round_.items():
            column, seconds = sample[:2]
            old = average.get((client, column))
            average[client, column] = seconds if old is None else beta * seconds + (1 - beta) * old
            last[client] = sample
    history = observed(rounds, beta)
    for client in range(CLIENTS):
        for column in range(len(TIERS)):
            expected = average.get((client, column), math.nan)
            assert history.seconds_KM[client, column] == pytest.approx(expected, rel=1e-14, nan_ok=True)
        if client in last:
            assert history.tier_K[client] == TIERS[last[client][0]]
            assert history.up_bytes_s_K[client] == last[client][2]
            assert history.down_bytes_s_K[client] == last[client][3]
            assert history.latency_s_K[client] == last[client][4]
        else:
            assert history.tier_K[client] == NEVER
            assert math.isnan(history.up_bytes_s_K[client])


def test_span_of_two_weighs_samples_by_thirds():
    history = observed([{0: (1, seconds, 1, 1, 0)} for seconds in (9.0, 3.0, 6.0)], beta=2 / 3)
    assert history.seconds_KM[0, 1] == pytest.approx(9 / 9 + 3 * 2 / 9 + 6 * 2 / 3)


def test_observing_leaves_the_old_history_alone():
    empty = History.empty(CLIENTS, len(TIERS))
    observe(empty, observation({1: (0, 1.0, 2.0, 3.0, 4.0)}), np.array(TIERS), 0.5)
    assert (empty.tier_K == NEVER).all()
    for array in (empty.seconds_KM, empty.up_bytes_s_K, empty.down_bytes_s_K, empty.latency_s_K):
        assert np.isnan(array).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(tables(), st.integers(0, 10_000), SECONDS, SECONDS, st.floats(0, 10))
def test_transfer_is_a_round_trip_with_weights_both_ways_and_each_image_up(
    table: TierTable, images: int, up: float, down: float, latency: float
):
    got = transfer_s(table, np.array([images], dtype=np.float64), *(np.array([x]) for x in (up, down, latency)))
    assert got.shape == (1, 3)
    for column, row in enumerate(table.rows):
        sent_up = images * (row.smashed_bytes + row.label_bytes) + row.weight_bytes
        expected = 2 * latency + sent_up / up + row.weight_bytes / down
        assert got[0, column] == pytest.approx(expected, rel=1e-14)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(tables(), ROUNDS, st.lists(st.integers(1, 5000), min_size=3, max_size=3), st.floats(0.1, 1))
def test_estimates_are_the_time_model_in_plain_loops(
    table: TierTable,
    rounds: list[dict[int, tuple[int, float, float, float, float]]],
    images: list[int],
    beta: float,
):
    history = observed(rounds, beta)
    server_speed = 1e5
    known = [client for client in range(CLIENTS) if history.tier_K[client] != NEVER]
    got = estimate(
        history,
        np.array(known),
        table,
        np.array([images[client] for client in known], dtype=np.float64),
        table.column("server_train_macs") / server_speed,
    )
    for place, client in enumerate(known):
        present = TIERS.index(history.tier_K[client])
        for column, row in enumerate(table.rows):
            ratio = row.client_train_macs / table.rows[present].client_train_macs
            t_c = ratio * float(history.seconds_KM[client, present]) * images[client]
            t_s = images[client] * row.server_train_macs / server_speed
            sent_up = images[client] * (row.smashed_bytes + row.label_bytes) + row.weight_bytes
            t_com = sent_up / float(history.up_bytes_s_K[client])
            t_com += row.weight_bytes / float(history.down_bytes_s_K[client]) + 2 * float(history.latency_s_K[client])
            assert got[place, column] == pytest.approx(max(t_c + t_com, t_s + t_com), rel=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(tables(), st.integers(0, 2), st.floats(1e3, 1e9), st.integers(1, 1000))
def test_carried_over_times_are_exact_when_speed_is_constant(
    table: TierTable, seen: int, macs_per_s: float, images: int
):
    seconds = table.rows[seen].client_train_macs / macs_per_s
    # An infinitely fast link and server leave the client's computing alone.
    history = observed([{0: (seen, seconds, math.inf, math.inf, 0.0)}], beta=0.5)
    got = estimate(history, np.array([0]), table, np.array([float(images)]), np.zeros(3))
    expected = [images * row.client_train_macs / macs_per_s for row in table.rows]
    assert got[0].tolist() == pytest.approx(expected, rel=1e-14)


def test_estimates_are_in_the_order_of_the_clients_asked_for():
    rows = [cost(tier, client_macs=tier, server_macs=1, smashed=1, label=1, weights=1) for tier in TIERS]
    table = TierTable(rows=tuple(rows), forward_macs=1)
    history = observed([{client: (client, 10.0 + client, 1.0, 1.0, 0.0) for client in range(3)}], beta=0.5)
    images = np.array([5.0, 6.0, 7.0])
    forward = estimate(history, np.array([0, 1, 2]), table, images, np.zeros(3))
    backward = estimate(history, np.array([2, 1, 0]), table, images[::-1], np.zeros(3))
    assert np.array_equal(forward, backward[::-1])
    assert len(np.unique(forward)) == 9
