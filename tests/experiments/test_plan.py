import json
import math
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from dtfl_private.cli.group import cli
from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.tier_floor import TierFloor
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.plan import COMPARED, plan
from dtfl_private.experiments.planned_rounds import Plan, total_tier_counts
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.setup.schedule_settings import schedule_settings
from dtfl_private.experiments.train import train
from dtfl_private.protocol.contracts import IntArray, TierChoice
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.schedulers.named import make_scheduler
from dtfl_private.simulation.timing import BatchByBatch, Timing
from dtfl_private.training.methods.tiered import Dtfl

DIGITS = (1, 8, 8)


def small(**values: object) -> TrainConfig:
    chance = {"drift_share": 0.3, "drift_every": 2, "noise": 0.2, "dropout": 0.2, "absent": 0.2, "join": 0.2}
    return make_config({"rounds": 6, "clients": 12, "fraction": 0.7, "seed": 3, **chance, **values})


def planned(config: TrainConfig, **arguments: Any) -> Plan:
    return plan(config, **{"input_shape": DIGITS, "images_per_client": 150, **arguments})


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


def cuts_of(method: str) -> str:
    """Let clients of methods with tiers have different ones."""
    return "random" if method in {"dtfl", "dtfl-full"} else "dynamic"


DEFENDED = [
    *(("dtfl", name) for name in ("dp-weights:noise_multiplier=1", "dp-activations:noise_multiplier=1", "quantize")),
    *(("local-loss", name) for name in ("dp-weights:noise_multiplier=1", "distance-correlation", "tier-floor:2")),
    *(("dtfl-full", name) for name in ("dp-activations:noise_multiplier=1", "top-k", "tier-floor:3")),
    *(("splitfed-v2:cut=3", name) for name in ("fisher-noise", "label-rr:2")),
    ("fedavg", "update-clip"),
]


@pytest.mark.parametrize(("method", "defense"), DEFENDED)
def test_a_defended_run_is_planned_as_it_is_trained(patterns, tiny_config, play, method: str, defense: str):
    """Times, bytes, MACs and tiers, with clients that drop out while they train or while they send."""
    values = {"method": method, "defense": [defense], "scheduler": cuts_of(method), "clients": 4, "rounds": 2}
    config = tiny_config(model="resnet-8", batch_size=5, dropout=0.4, noise=0.2, seed=2, fraction=0.75, **values)
    trained = play(prepare(config, objects=RunObjects(dataset=patterns)), 2)
    result = planned(config, images_per_client=10, classes=3)
    dropped_out = 0
    for row, (_, outcome) in zip(result.rounds, trained, strict=True):
        assert (row.virtual_time_s, row.round_time_s) == (outcome.virtual_time_s, outcome.plan.round_time_s)
        assert (row.bytes, row.macs) == (outcome.traffic, outcome.macs)
        assert sum(row.tier_counts[tier] for tier in set(outcome.plan.tiers_P.tolist())) == row.participants
        dropped_out += row.dropped
    assert dropped_out > 0


def test_clients_retire_in_a_plan_as_in_a_run(patterns, tiny_config, tmp_path):
    defense = "dp-activations:noise_multiplier=20,clip=1,epsilon=0.5"  # for two releases
    values = {"defense": [defense], "fraction": 0.67, "rounds": 9, "dropout": 0.3, "seed": 4}
    config = tiny_config(model="resnet-8", clients=4, **values)
    run = train(config, out=tmp_path / "run", dataset=patterns)
    result = planned(config, images_per_client=10, classes=3)
    assert [row.virtual_time_s for row in result.rounds] == [record["virtual_time_s"] for record in run.records]
    assert [row.retired for row in result.rounds] == [len(record["retired"]) for record in run.records]
    assert result.rounds[-1].retired > 0
    assert result.notes == [f"the run ends after round {len(run.records)} of 9: {run.summary['stopped']}"]
    assert run.summary["stopped"] == "all clients have spent their privacy budgets"
    stopped = planned(config.model_copy(update={"on_budget": "stop"}), images_per_client=10, classes=3)
    assert len(stopped.rounds) < len(result.rounds)
    first = "client 3 has spent its privacy budget, and the run is to stop then"
    assert stopped.notes == [f"the run ends after round {len(stopped.rounds)} of 9: {first} (on_budget = stop)"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "fedavg", "defense": ["quantize"]}, "quantize acts on smashed, and in method fedavg"),
        ({"defense": ["dp-weights:epsilon=1e-9"]}, "cannot be met"),
        ({"defense": ["dp-weights"], "local_epochs": 2}, "use --local-epochs 1"),
        ({"defense": ["dp-weights"], "norm": "batch"}, "cannot be combined with --norm batch"),
        ({"defense": ["tier-floor:5"]}, "tier floor 5 leaves no tier"),
        ({"defense": ["dp-activations:noise_multiplier=1,epsilon=0.1"]}, "not a single round is within the privacy"),
    ],
)
def test_a_defense_that_a_run_would_refuse_is_refused_by_its_plan(values: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        planned(small(**values))


def test_training_first_costs_the_whole_training_where_the_server_is_the_slower_side():
    """T_train + T_com + max(T_release, T_s) against max(T_train, T_s) + T_com."""
    alike = {"profiles": "uniform", "server_cpus": 0.1, "norm": "group", "scheduler": "static:2", "rounds": 3}
    calm = make_config({"clients": 5, "batch_size": 25, **alike})
    apart = planned(calm.model_copy(update={"defense": ["dp-activations:noise_multiplier=1"]}))
    training_s = 150 * apart.table.rows[1].client_train_macs / (calm.cpu_gmacs * 1e9)
    assert apart.virtual_time_s - planned(calm).virtual_time_s == pytest.approx(3 * training_s)
    assert training_s > 0.01 * apart.rounds[0].round_time_s


def test_defenses_can_be_passed_as_objects():
    chain = [DpActivations(noise_multiplier=1.0)]
    by_name = planned(small(defense=["dp-activations:noise_multiplier=1"]))
    assert planned(small(), defenses=chain).rounds == by_name.rounds
    with pytest.raises(InputError, match="expected an object of a subclass of"):
        planned(small(), defenses=["quantize"])


def test_a_profile_error_makes_dynamic_worse_and_leaves_the_oracle_the_best():
    slow = {"clients": 20, "rounds": 5, "seed": 1, "link_unit": "mbyte", "cpu_gmacs": 0.1, "server_workers": 20}
    regrets = {}
    for error in (0.0, 0.3, 1.0):
        config = make_config({**slow, "profile_error": error})
        result = planned(config, compare_schedulers=True)
        assert result.regret(result.scheduler_time_s["oracle"]) == pytest.approx(0, abs=1e-12)
        assert min(result.regret(seconds) for seconds in result.scheduler_time_s.values()) > -1e-12
        regrets[error] = result.regret(result.scheduler_time_s["dynamic"])
    assert regrets[0.0] < regrets[0.3] < regrets[1.0]


def test_without_a_profile_error_nothing_is_drawn():
    assert planned(small(profile_error=0.0)).rounds == planned(small()).rounds
    assert planned(small(profile_error=1e-12)).virtual_time_s == pytest.approx(planned(small()).virtual_time_s)
    assert planned(small(profile_error=0.5)).rounds != planned(small()).rounds


def test_defenses_and_profile_errors_are_options_of_plan(tmp_path):
    options = ["--clients", "4", "--rounds", "2", "--input-shape", "1x8x8", "--images-per-client", "50", "--seed", "3"]
    options += ["--defense", "dp-activations:noise_multiplier=1", "--defense", "tier-floor:2", "--profile-error", "0.3"]
    file = tmp_path / "plan.json"
    result = CliRunner().invoke(cli, ["plan", *options, "--no-compare", "--json", str(file)])
    assert result.exit_code == 0
    config = make_config({"clients": 4, "rounds": 2, "seed": 3, "profile_error": 0.3})
    expected = planned(
        config, defenses=[DpActivations(noise_multiplier=1.0), TierFloor(modules=2)], images_per_client=50
    )
    assert [row["virtual_time_s"] for row in json.loads(file.read_text())] == [
        row.virtual_time_s for row in expected.rounds
    ]
    assert min(expected.table.tiers_M) == 2


class OwnTiming(Dtfl):
    """A method whose time model is not DTFL's."""

    @property
    def timing(self) -> Timing:
        return BatchByBatch(one_server_half=False)


def test_a_time_model_that_does_not_know_of_training_first_is_refused(offer):
    offer("method", "own-timing", OwnTiming)
    assert planned(small(method="own-timing")).rounds
    with pytest.raises(InputError, match=r"method own-timing has a time model of its own \(BatchByBatch\).*leave out"):
        planned(small(method="own-timing", defense=["dp-weights:noise_multiplier=1"]))
