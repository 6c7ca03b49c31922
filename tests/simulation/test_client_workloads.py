from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dtfl_private.simulation.client_workloads import images_in
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import planned_bytes
from dtfl_private.simulation.schedulers.baseline_schedulers import Static
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping
from tests.simulation.rounds_by_hand import (
    CPU_MACS_PER_S,
    PAPER,
    MakeSchedule,
    by_hand,
    images_of_first_batches,
    mis_profiled,
    play,
    releasing,
    slow,
    train_first,
)


def test_virtual_time_is_linear_in_images(make_schedule: MakeSchedule, four_tiers: TierTable):
    weightless = replace(four_tiers, rows=tuple(replace(row, weight_bytes=0) for row in four_tiers.rows))
    settings = make_schedule(table=weightless, scheduler=Static(2))
    _, once = next(play(settings, 1))
    _, twice = next(play(replace(settings, images_K=2 * settings.images_K), 1))
    _, two_epochs = next(play(replace(settings, local_epochs=2), 1))
    for double in (twice, two_epochs):
        assert np.array_equal(double.compute_s_P, 2 * once.compute_s_P)
        assert np.array_equal(double.transfer_s_P, 2 * once.transfer_s_P)
        assert double.round_time_s == 2 * once.round_time_s
        assert np.array_equal(double.images_P, 2 * once.images_P)


@examples(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.integers(1, 7), st.data())
def test_images_are_those_in_the_first_batches_or_in_every_so_many_th_of_them(
    images: int, batch_size: int, epochs: int, every: int, data: st.DataObject
):
    batches = data.draw(st.integers(0, epochs * -(-images // batch_size)))
    counted = images_of_first_batches(images, batch_size, epochs, batches, every)
    sent = -(-batches // every)
    assert images_in(np.array([sent]), np.array([images]), batch_size, every).tolist() == [counted]


def test_who_drops_out_trains_on_the_first_batches_only(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 0.5}, batch_size=7, local_epochs=3)
    outcomes = set()
    for _, plan in play(settings, 10):
        for place, client in enumerate(plan.clients_P.tolist()):
            images, batches = 100 + 10 * client, int(plan.batches_P[place])
            all_batches = 3 * -(-images // 7)
            assert plan.images_P[place] == images_of_first_batches(images, 7, 3, batches)
            assert (batches < all_batches) == plan.dropped_P[place]
            outcomes.add(batches / all_batches)
    assert len(outcomes) > 30


@pytest.mark.parametrize("server_cpus", [8.0, 0.1])
def test_who_drops_out_takes_the_time_of_its_batches_and_of_the_download_and_sends_no_update(
    make_schedule: MakeSchedule, server_cpus: float
):
    server = ServerCapacity(workers=10, cpus=server_cpus)
    settings = make_schedule(environment={"dropout": 1.0}, scheduler=Static(2), batch_size=1, server=server)
    for state, plan in play(settings, 5):
        for client, kind in enumerate(state.environment.profile_K):
            images = 100 + 10 * client
            t_c, t_com, t_s = by_hand(settings, kind, images, 2)
            assert plan.batches_P[client] < images
            share = plan.batches_P[client] / images
            profile, row = settings.environment.profiles[kind], settings.table.rows[1]
            up, down = (speed * 1e6 / 8 for speed in (profile.up_mbit_s, profile.down_mbit_s))
            fixed = 2 * profile.latency_ms / 1e3 + row.weight_bytes / down
            sent = fixed + share * (t_com - fixed - row.weight_bytes / up)
            assert plan.compute_s_P[client] == pytest.approx(share * t_c)
            assert plan.transfer_s_P[client] == pytest.approx(sent)
            assert plan.client_time_s_P[client] == pytest.approx(share * max(t_c, t_s) + sent)


def test_who_trains_first_and_drops_out_has_sent_nothing_or_a_share(make_schedule: MakeSchedule):
    settings = train_first(make_schedule, environment={"dropout": 1.0}, scheduler=Static(2), batch_size=10)
    nothing, share = 0, 0
    for state, plan in play(settings, 10):
        for client, kind in enumerate(state.environment.profile_K):
            images, sent = 100 + 10 * client, int(plan.sent_P[client])
            row, profile = settings.table.rows[1], settings.environment.profiles[kind]
            up, down = (speed * 1e6 / 8 for speed in (profile.up_mbit_s, profile.down_mbit_s))
            speed = profile.cpus * CPU_MACS_PER_S
            t_com = row.weight_bytes / down + sent * (row.smashed_bytes + row.label_bytes) / up
            t_train = plan.images_P[client] * row.client_train_macs / speed
            t_s = sent * row.server_train_macs / (8.0 * CPU_MACS_PER_S)
            expected = t_train + t_com + max(sent * row.release_macs / speed, t_s)
            assert plan.client_time_s_P[client] == pytest.approx(expected, rel=1e-12)
            assert sent < images
            assert sent == 0 or plan.images_P[client] == images
            nothing, share = nothing + (sent == 0), share + (sent > 0)
        assert planned_bytes(plan, settings.table)["up_labels"] == 8 * plan.sent_P.sum()
    # Of 100; nearly half of them have sent something: by chance fewer than 16 of either once in 100 million.
    assert min(nothing, share) > 15


@pytest.mark.parametrize("tier", [1, 3])
def test_under_a_wrong_profile_rounds_last_as_long_as_the_devices_say(make_schedule: MakeSchedule, tier: int):
    settings = mis_profiled(make_schedule, scheduler=Static(tier))
    for state, plan in play(settings, 2):
        for client, kind in enumerate(state.environment.profile_K):
            t_c, t_com, t_s = by_hand(settings, kind, 100 + 10 * client, tier)
            t_c *= slow(settings)[client, tier - 1]
            assert plan.client_time_s_P[client] == pytest.approx(max(t_c, t_s) + t_com, rel=1e-12)
            row = settings.table.rows[tier - 1]
            measured = row.client_train_macs * slow(settings)[client, tier - 1] / (PAPER[kind][0] * CPU_MACS_PER_S)
            assert state.history.last_s_K[client] == pytest.approx(measured, rel=1e-12)


def test_the_release_of_a_wrongly_profiled_client_is_as_slow_as_its_training(make_schedule: MakeSchedule):
    settings = mis_profiled(make_schedule, scheduler=Static(3))
    apart = replace(settings, timing=Overlapping(trains_first=True), table=releasing(settings.table))
    (_, plain), (_, plan) = next(play(settings, 1)), next(play(apart, 1))
    row = apart.table.rows[2]
    np.testing.assert_allclose(
        plan.compute_s_P, plain.compute_s_P * (1 + row.release_macs / row.client_train_macs), rtol=1e-12
    )
