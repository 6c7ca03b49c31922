from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from dtfl_private.errors import RunError
from dtfl_private.protocol.contracts import IntArray, TierChoice
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.estimates import NEVER
from dtfl_private.simulation.schedulers.baseline_schedulers import LastValue, Random, Static, StaticProfile
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from tests.simulation.rounds_by_hand import (
    CHANGING,
    CPU_MACS_PER_S,
    PAPER,
    MakeSchedule,
    Recorder,
    by_hand,
    mis_profiled,
    papers_choice,
    play,
    slow,
)


@pytest.mark.parametrize("allowed", [[1, 4], [1, 3], [2, 4], [1, 2, 4]])
def test_the_papers_rule_holds_among_tiers_with_gaps(
    make_schedule: MakeSchedule, four_tiers: TierTable, allowed: list[int]
):
    settings, free = make_schedule(table=four_tiers.only(allowed)), make_schedule()
    for (state, plan), (_, unlimited) in zip(play(settings, 3), play(free, 3), strict=True):
        assert plan.tiers_P.tolist() == papers_choice(settings, state.environment.profile_K.tolist())
        # Without chance the estimates are true, and a choice among fewer tiers cannot be faster.
        assert plan.round == 1 or plan.round_time_s >= unlimited.round_time_s


@pytest.mark.parametrize("deepest", [1, 2, 4])
def test_with_fewer_tiers_costs_are_those_of_the_tiers_left(
    make_schedule: MakeSchedule, four_tiers: TierTable, deepest: int
):
    settings = make_schedule(table=four_tiers.deepest(deepest), first_tier="deepest")
    for state, plan in play(settings, 3):
        kinds = state.environment.profile_K.tolist()
        expected = [4] * 10 if plan.round == 1 else papers_choice(settings, kinds)
        assert plan.tiers_P.tolist() == expected
        hand = [
            by_hand(settings, kind, images, tier)
            for kind, images, tier in zip(kinds, settings.images_K, expected, strict=True)
        ]
        assert plan.compute_s_P.tolist() == pytest.approx([t_c for t_c, _, _ in hand], rel=1e-12)


class Fixed:
    """Answers what it was told to answer."""

    uses_times: ClassVar[bool] = False

    def __init__(self, answer: list[int]) -> None:
        self.answer = answer

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        return np.array(self.answer)


@pytest.mark.parametrize("answer", [[2] * 9 + [1], [2] * 9 + [99], [2] * 9, [2] * 11])
def test_a_scheduler_that_names_other_tiers_or_too_few_is_refused(
    make_schedule: MakeSchedule, four_tiers: TierTable, answer: list[int]
):
    settings = make_schedule(scheduler=Fixed(answer), table=four_tiers.deepest(3))
    with pytest.raises(RunError, match=r"scheduler Fixed must name one of the tiers \[2, 3, 4\] for each of the 10"):
        next(play(settings, 1))


@pytest.mark.parametrize("first_tier", ["probe", "deepest"])
def test_without_chance_the_scheduler_is_shown_the_true_times(make_schedule: MakeSchedule, first_tier: str):
    recorder = Recorder()
    settings = make_schedule(scheduler=recorder, first_tier=first_tier, local_epochs=3, fraction=0.5)
    known: set[int] = set()
    for state, plan in play(settings, 6):
        clients = plan.clients_P.tolist()
        measured = clients if first_tier == "probe" else [client for client in clients if client in known]
        known.update(clients)
        if not measured:
            continue
        choice = recorder.shown.pop()
        assert choice.tiers_M.tolist() == [1, 2, 3, 4]
        for shown, client in zip(choice.times_s_KM.tolist(), measured, strict=True):
            for seconds, tier in zip(shown, (1, 2, 3, 4), strict=True):
                kind = state.environment.profile_K[client]
                t_c, t_com, t_s = by_hand(settings, kind, 3 * (100 + 10 * client), tier)
                assert seconds == pytest.approx(max(t_c + t_com, t_s + t_com), rel=1e-12)
    assert known == set(range(10))
    assert recorder.shown == []


def test_after_probing_the_first_round_already_has_the_papers_tiers(make_schedule: MakeSchedule):
    settings = make_schedule()
    for state, plan in play(settings, 3):
        assert plan.tiers_P.tolist() == papers_choice(settings, state.environment.profile_K.tolist())
        assert len(set(plan.tiers_P.tolist())) > 1


def test_static_is_static_from_the_first_round(make_schedule: MakeSchedule):
    for first_tier in ("probe", "shallowest", "deepest"):
        for _, plan in play(make_schedule(scheduler=Static(3), first_tier=first_tier), 3):
            assert plan.tiers_P.tolist() == [3] * 10


@pytest.mark.parametrize(("policy", "tier"), [("shallowest", 1), ("middle", 3), ("deepest", 4)])
def test_first_tier_by_policy_then_by_measurement(make_schedule: MakeSchedule, policy: str, tier: int):
    settings = make_schedule(first_tier=policy)
    (state, first), (_, second) = play(settings, 2)
    assert first.tiers_P.tolist() == [tier] * 10
    assert second.tiers_P.tolist() == papers_choice(settings, state.environment.profile_K.tolist())


def test_random_tiers_are_drawn_anew_each_round(make_schedule: MakeSchedule):
    drawn = {tuple(plan.tiers_P.tolist()) for _, plan in play(make_schedule(scheduler=Random()), 5)}
    assert len(drawn) == 5


def test_dynamic_tiers_follow_a_drift_within_a_few_rounds(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"drift_share": 0.5, "drift_every": 10})
    played = list(play(settings, 20))
    chosen = [plan.tiers_P.tolist() for _, plan in played]
    right = [papers_choice(settings, state.environment.profile_K.tolist()) for state, _ in played]
    assert right[9] != right[10]
    # The scheduler knows only what it has measured: in the round of the drift it still believes in the old speeds.
    assert chosen[10] == right[9]
    assert chosen[14:] == right[14:]


class Listening:
    """The paper's scheduler, which notes how often clients are said to change."""

    uses_times = True

    def __init__(self) -> None:
        self.rates: list[float] = []

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        assert choice.estimates is not None
        self.rates.append(choice.estimates.change_rate)
        return Dynamic().assign(choice, rng)


def test_schedulers_are_told_how_often_clients_have_turned_slow(make_schedule: MakeSchedule):
    told = {}
    for every in (3, 1000):
        told[every] = Listening()
        drift = {"drift_share": 0.5, "drift_every": every}
        *_, (last, _) = play(make_schedule(environment=drift, scheduler=told[every]), 7)
        assert last.changes.measured == 60  # those of the first round had not been known before
    # Until something happens the prior fades, by ten measurements in each round but the first.
    assert told[1000].rates == pytest.approx([0.3 / (50 + 10 * known) for known in (0, 0, 1, 2, 3, 4, 5)])
    assert told[3].rates[:4] == told[1000].rates[:4]
    assert min(told[3].rates[4:]) > told[1000].rates[0]


def test_last_value_is_the_papers_scheduler_with_all_weight_on_the_newest_sample(make_schedule: MakeSchedule):
    settings = make_schedule(environment=CHANGING)
    last = [plan.tiers_P.tolist() for _, plan in play(replace(settings, scheduler=LastValue()), 10)]
    newest = [plan.tiers_P.tolist() for _, plan in play(replace(settings, ema=1.0), 10)]
    assert last == newest
    assert last != [plan.tiers_P.tolist() for _, plan in play(replace(settings, ema=0.2), 10)]


@pytest.mark.parametrize("first_tier", ["probe", "middle"])
def test_static_profile_never_plans_a_client_again(make_schedule: MakeSchedule, first_tier: str):
    settings = make_schedule(environment=CHANGING, scheduler=StaticProfile(), first_tier=first_tier, fraction=0.5)
    given: dict[int, set[int]] = {}
    for state, plan in play(settings, 30):
        for client, tier in zip(plan.clients_P.tolist(), plan.tiers_P.tolist(), strict=True):
            if state.history.first_tier_K[client] != NEVER:  # otherwise it has only had the fixed tier of the unknown
                given.setdefault(client, set()).add(tier)
                assert tier == state.history.first_tier_K[client]
    assert len(given) == 10
    assert len({tier for tiers in given.values() for tier in tiers}) > 1


def test_the_server_carries_its_measurement_over_by_the_wrong_ratios_and_the_oracle_knows(make_schedule: MakeSchedule):
    recorder = Recorder()
    settings = mis_profiled(make_schedule, scheduler=recorder)
    for state, plan in play(settings, 2):
        measured = 0 if plan.round == 1 else 1  # the probe's tier, and then the recorder's
        believed, true = [], []
        for client, kind in enumerate(state.environment.profile_K):
            for_all = [by_hand(settings, kind, 100 + 10 * client, tier) for tier in (1, 2, 3, 4)]
            factors = slow(settings)[client]
            believed.append([max(t_c * factors[measured], t_s) + t_com for t_c, t_com, t_s in for_all])
            true.append([max(t_c * f, t_s) + t_com for (t_c, t_com, t_s), f in zip(for_all, factors, strict=True)])
        np.testing.assert_allclose(recorder.shown[-1].times_s_KM, believed, rtol=1e-12)
        assert plan.oracle_time_s == pytest.approx(max(map(min, true)), rel=1e-12)
    first = slow(settings)[:, 0] * 32 * settings.table.rows[0].client_train_macs
    _, probing = next(play(mis_profiled(make_schedule), 1))
    _, later = list(play(mis_profiled(make_schedule), 2))[1]
    cpus = np.array([PAPER[kind][0] for kind in state.environment.profile_K])
    same = probing.tiers_P == later.tiers_P
    assert same.any()
    np.testing.assert_allclose(
        (probing.compute_s_P - later.compute_s_P)[same], (first / (cpus * CPU_MACS_PER_S))[same], rtol=1e-9
    )
