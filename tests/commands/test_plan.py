import math
from typing import Any, ClassVar

import numpy as np
import pytest

from dtfl_private.commands.plan import COMPARED, Plan, plan, total_tier_counts
from dtfl_private.commands.settings import schedule_settings
from dtfl_private.config import TrainConfig, make_config
from dtfl_private.contracts import IntArray, TierChoice
from dtfl_private.errors import InputError
from dtfl_private.federated.schedule import ScheduleState, planned_bytes, planned_macs, schedule_round
from dtfl_private.tiers.schedulers import make_scheduler

DIGITS = (1, 8, 8)


def small(**values: object) -> TrainConfig:
    chance = {"drift_share": 0.3, "drift_every": 2, "noise": 0.2, "dropout": 0.2, "absent": 0.2, "join": 0.2}
    return make_config({"rounds": 6, "clients": 12, "fraction": 0.7, "seed": 3, **chance, **values})


def planned(config: TrainConfig, **arguments: Any) -> Plan:
    return plan(config, input_shape=DIGITS, images_per_client=150, **arguments)


@pytest.mark.parametrize("scheduler", ["dynamic", "static:2", "random"])
def test_plan_is_the_schedule_of_each_round(scheduler: str):
    config = small(scheduler=scheduler, tiers=3)
    result = planned(config)
    images = np.full(12, 150)
    settings = schedule_settings(config, result.table, make_scheduler(scheduler, result.table.tiers_M), images)
    state = ScheduleState.start(settings)
    for number, row in enumerate(result.rounds, start=1):
        state, round_plan = schedule_round(state, settings, number)
        assert row.round == number
        assert row.round_time_s == round_plan.round_time_s
        assert row.virtual_time_s == state.clock.now_s
        assert row.participants == len(round_plan.clients_P)
        assert row.dropped == round_plan.dropped_P.sum()
        assert row.tier_counts == {
            tier: round_plan.tiers_P.tolist().count(tier) for tier in sorted(set(round_plan.tiers_P.tolist()))
        }
        assert row.server_wait_s == round_plan.server_wait_s
        # Twelve clients, one channel: a count and two sums up, a mean and a deviation down.
        registration = {"up_statistics": 12 * 3 * 8, "down_statistics": 12 * 2 * 8}
        assert row.bytes == planned_bytes(round_plan, result.table, registration)
        assert row.macs == planned_macs(round_plan, result.table)
    assert len(result.rounds) == 6
    assert result.virtual_time_s == state.clock.now_s


def test_plan_compares_with_every_client_in_each_fixed_tier():
    config = small(tiers=3)
    compared = planned(config, compare_static=True)
    assert compared.table.tiers_M.tolist() == [2, 3, 4]
    assert compared.static_time_s == {
        tier: planned(small(tiers=3, scheduler=f"static:{tier}")).virtual_time_s for tier in (2, 3, 4)
    }
    assert len(set(compared.static_time_s.values())) == 3
    assert compared.rounds == planned(config).rounds
    assert planned(config).static_time_s == {}


def test_plan_compares_schedulers_and_says_their_regret():
    compared = planned(small(scheduler="random"), compare_schedulers=True)
    times = compared.scheduler_time_s
    assert set(times) == set(COMPARED)
    assert times["random"] == compared.virtual_time_s
    assert times["dynamic"] == planned(small()).virtual_time_s
    assert times["oracle"] == pytest.approx(sum(row.oracle_time_s or 0 for row in compared.rounds))
    assert compared.regret(times["oracle"]) == pytest.approx(0)
    assert compared.regret(1.5 * times["oracle"]) == pytest.approx(0.5)
    untiered = planned(small(method="fedavg"), compare_schedulers=True)
    assert untiered.scheduler_time_s == {}
    assert untiered.regret(1.0) is None


def test_without_chance_dynamic_is_as_fast_as_the_fastest_fixed_tier_or_faster():
    # The first round holds the probe, which no fixed tier pays.
    calm = make_config({"rounds": 5, "profiles": "paper", "cpu_gmacs": 0.5})
    compared = plan(calm, compare_static=True)
    fastest = min(compared.static_time_s.values()) / 5
    assert all(row.round_time_s <= fastest * (1 + 1e-12) for row in compared.rounds[1:])
    assert max(compared.static_time_s.values()) / 5 > 1.2 * fastest


def test_tier_counts_add_up_to_all_participations():
    result = planned(small(scheduler="random"))
    total = total_tier_counts(result.rounds)
    assert total.total() == sum(row.participants for row in result.rounds)
    for tier in range(1, 5):
        assert total[tier] == sum(row.tier_counts.get(tier, 0) for row in result.rounds)


class AllInTheMiddle:
    uses_times: ClassVar[bool] = False

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        return np.full(len(choice.times_s_KM), choice.tiers_M[len(choice.tiers_M) // 2])


def test_a_scheduler_can_be_passed_as_an_object():
    result = planned(small(), scheduler=AllInTheMiddle())
    assert set(total_tier_counts(result.rounds)) == {3}


def test_plan_without_arguments_plans_the_default_run():
    result = plan()
    assert len(result.rounds) == TrainConfig().rounds
    assert result.rounds[0].participants == TrainConfig().clients
    assert result.table.tiers_M.tolist() == [1, 2, 3, 4]


def test_twenty_thousand_clients_can_be_planned():
    result = planned(small(clients=20_000, rounds=3, fraction=1.0, server_workers=1, absent=0.0, dropout=0.0))
    for row in result.rounds:
        assert row.participants == sum(row.tier_counts.values()) == 20_000
        assert row.bytes["up_labels"] == 20_000 * 150 * 8
        assert row.server_wait_s > 0
        assert math.isfinite(row.round_time_s)


def test_three_hundred_rounds_of_two_hundred_clients_can_be_planned():
    result = planned(small(clients=200, rounds=300, fraction=1.0, absent=0.0))
    assert [row.round for row in result.rounds] == list(range(1, 301))
    assert all(row.participants == 200 for row in result.rounds)
    times = [row.virtual_time_s for row in result.rounds]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(math.fsum(row.round_time_s for row in result.rounds))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tiers": 5}, "tiers 5 is above what resnet-8 has: its 5 modules make 4 tiers"),
        ({"tiers": 2, "scheduler": "static:2"}, r"static:2 names a tier that is not allowed here: tiers 3\.\.4"),
        ({"scheduler": "static:5"}, "static:5 names a tier that is not allowed here"),
        ({"profiles": "papr"}, "unknown set of profiles 'papr': did you mean 'paper'"),
        ({"profiles": "missing.toml"}, "'missing.toml' does not exist"),
    ],
)
def test_what_cannot_be_planned_is_refused(values: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        planned(small(**values))


@pytest.mark.parametrize("method", ["fedavg", "centralised", "splitfed-v2:cut=3", "fedgkt", "tifl:groups=2"])
def test_a_method_without_tiers_is_planned_as_it_is_trained(prepare_tiny, play, tiny_network, method):
    values = {"method": method, "clients": 4, "rounds": 3, "dropout": 0.2, "seed": 2}
    result = plan(
        TrainConfig(batch_size=4, **values),
        model=tiny_network(),
        input_shape=(1, 8, 8),
        classes=3,
        images_per_client=10,
        compare_static=True,
    )
    assert result.static_time_s == {}
    trained = play(prepare_tiny(**values), 3)
    for row, (_, outcome) in zip(result.rounds, trained, strict=True):
        assert (row.virtual_time_s, row.bytes, row.macs) == (outcome.virtual_time_s, outcome.traffic, outcome.macs)
