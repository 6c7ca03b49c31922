import numpy as np
import pytest

from dtfl_private.simulation.estimates import estimate
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Random, Static
from tests.simulation.rounds_by_hand import CPU_MACS_PER_S, PAPER, MakeSchedule, by_hand, papers_choice, play


def test_probing_costs_one_standard_batch_in_the_first_round_only(make_schedule: MakeSchedule):
    settings = make_schedule()
    for state, plan in play(settings, 3):
        for client, (kind, tier) in enumerate(zip(state.environment.profile_K, plan.tiers_P, strict=True)):
            t_c, _, _ = by_hand(settings, kind, 100 + 10 * client, tier)
            probe, _, _ = by_hand(settings, kind, 32, 1)
            expected = t_c + probe if plan.round == 1 else t_c
            assert plan.compute_s_P[client] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scheduler", [Static(3), Random()])
def test_schedulers_that_need_no_times_are_not_made_to_probe(make_schedule: MakeSchedule, scheduler: Static | Random):
    settings = make_schedule(scheduler=scheduler, first_tier="probe")
    state, plan = next(play(settings, 1))
    kinds = state.environment.profile_K
    hand = [by_hand(settings, kinds[k], 100 + 10 * k, plan.tiers_P[k])[0] for k in range(10)]
    assert plan.compute_s_P.tolist() == pytest.approx(hand, rel=1e-12)


def test_clients_that_join_later_are_probed_when_they_first_take_part(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"absent": 0.5, "join": 1.0})
    (first_state, _), (second_state, second), (_, third) = play(settings, 3)
    newcomers = ~first_state.environment.present_K
    assert newcomers.sum() == 5
    assert second.clients_P.tolist() == third.clients_P.tolist() == list(range(10))
    assert np.array_equal(second.tiers_P, third.tiers_P)
    for client in range(10):
        kind = second_state.environment.profile_K[client]
        probe, _, _ = by_hand(settings, kind, 32, 1)
        extra = second.compute_s_P[client] - third.compute_s_P[client]
        assert extra == pytest.approx(probe if newcomers[client] else 0.0, rel=1e-9, abs=1e-12)


def test_who_drops_out_is_not_observed(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 0.5}, first_tier="shallowest")
    before = ScheduleState.start(settings).history
    dropped = 0
    for state, plan in play(settings, 6):
        after = state.history
        for client in plan.clients_P[plan.dropped_P]:
            assert after.tier_K[client] == before.tier_K[client]
            np.testing.assert_array_equal(after.seconds_KM[client], before.seconds_KM[client])
            np.testing.assert_array_equal(after.up_bytes_s_K[client], before.up_bytes_s_K[client])
            dropped += 1
        for client, tier in zip(plan.clients_P[~plan.dropped_P], plan.tiers_P[~plan.dropped_P], strict=True):
            assert after.tier_K[client] == tier
        before = after
    assert 10 < dropped < 50


def test_a_probe_counts_even_if_the_client_then_drops_out(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 1.0})
    (state, first), (_, second) = play(settings, 2)
    cpus = np.array([PAPER[kind][0] for kind in state.environment.profile_K])
    per_image = settings.table.rows[0].client_train_macs / (cpus * CPU_MACS_PER_S)
    np.testing.assert_allclose(state.history.seconds_KM[:, 0], per_image, rtol=1e-12)
    assert np.isnan(state.history.seconds_KM[:, 1:]).all()
    assert second.tiers_P.tolist() == first.tiers_P.tolist() == papers_choice(settings, state.environment.profile_K)


def test_after_a_drift_the_average_forgets_the_old_speed_by_its_weight(make_schedule: MakeSchedule):
    drift = {"drift_share": 1.0, "drift_every": 4}
    beta = 2 / 3
    settings = make_schedule(scheduler=Static(2), environment=drift, ema=beta)
    macs = settings.table.rows[1].client_train_macs
    truth, averages = [], []
    for state, _ in play(settings, 8):
        cpus = np.array([PAPER[kind][0] for kind in state.environment.profile_K])
        truth.append(macs / (cpus * CPU_MACS_PER_S))
        averages.append(state.history.seconds_KM[:, 1])
    old, new = truth[3], truth[4]
    assert not np.array_equal(old, new)
    for rounds_since in range(1, 5):
        expected = new + (1 - beta) ** rounds_since * (old - new)
        np.testing.assert_allclose(averages[3 + rounds_since], expected, rtol=1e-12)


def test_measurements_of_a_round_are_the_estimates_of_the_next(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"noise": 0.5}, ema=1.0, scheduler=Static(3))
    for state, plan in play(settings, 3):
        estimated = estimate(
            state.history,
            np.arange(10),
            settings.table,
            settings.images_K.astype(np.float64),
            settings.server_seconds_M,
        )
        np.testing.assert_allclose(estimated[:, 2], plan.client_time_s_P, rtol=1e-12)
