import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.errors import RunError
from dtfl_private.experiments.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.protocol.contracts import FloatArray, IntArray, TierChoice
from dtfl_private.simulation.clients.conditions import slowness
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.estimates import NEVER, estimate
from dtfl_private.simulation.round_plan import RoundPlan, planned_bytes, planned_macs
from dtfl_private.simulation.schedule import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.efficient import Efficient
from dtfl_private.simulation.schedulers.others import LastValue, Oracle, Random, Static, StaticProfile
from dtfl_private.simulation.schedulers.paper import Dynamic
from dtfl_private.simulation.scheduling import _images_in, learn_progress, schedule_round
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping

MakeSchedule = Callable[..., ScheduleSettings]

# dtfl section 4: CPUs and Mbit/s.
PAPER = ((4, 100), (2, 30), (1, 30), (0.2, 30), (0.1, 10))
CPU_MACS_PER_S = 3e9


def play(settings: ScheduleSettings, rounds: int) -> Iterator[tuple[ScheduleState, RoundPlan]]:
    """Yield the state after each round and the round's plan."""
    state = ScheduleState.start(settings)
    for number in range(1, rounds + 1):
        state, plan = schedule_round(state, settings, number)
        yield state, plan


def by_hand(settings: ScheduleSettings, kind: int, images: int, tier: int) -> tuple[float, float, float]:
    """Return T_c, T_com, T_s of a client with a paper profile that trains on ``images`` images in all."""
    cpus, mbit_s = PAPER[kind]
    row = next(row for row in settings.table.rows if row.tier == tier)
    t_c = images * row.client_train_macs / (cpus * CPU_MACS_PER_S)
    sent = images * (row.smashed_bytes + row.label_bytes) + 2 * row.weight_bytes
    t_s = images * row.server_train_macs / (settings.server.cpus * CPU_MACS_PER_S)
    return t_c, sent / (mbit_s * 1e6 / 8), t_s


def papers_choice(settings: ScheduleSettings, kinds: list[int]) -> list[int]:
    """Return the paper's tiers from the true times of clients that all take part: plain loops."""
    times = []
    for kind, images in zip(kinds, settings.images_K.tolist(), strict=True):
        by_tier = {}
        for tier in settings.table.tiers_M.tolist():
            t_c, t_com, t_s = by_hand(settings, kind, images * settings.local_epochs, tier)
            by_tier[tier] = max(t_c + t_com, t_s + t_com)
        times.append(by_tier)
    t_max = max(min(by_tier.values()) for by_tier in times)
    return [max(tier for tier, seconds in by_tier.items() if seconds <= t_max) for by_tier in times]


def assert_same(one: object, other: object) -> None:
    """Compare two dataclasses field by field, arrays by value, NaN equal to NaN."""
    for field in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, field.name), getattr(other, field.name)
        if hasattr(a, "__dataclass_fields__"):
            assert_same(a, b)
        else:
            np.testing.assert_array_equal(a, b, err_msg=field.name)


@pytest.mark.parametrize("scheduler", ["dynamic", 1, 2, 3, 4])
@pytest.mark.parametrize("server_cpus", [8.0, 0.5])
def test_a_round_lasts_as_long_as_the_papers_formula_says(
    make_schedule: MakeSchedule, scheduler: str | int, server_cpus: float
):
    server = ServerCapacity(workers=10, cpus=server_cpus)
    settings = make_schedule(server=server, local_epochs=2)
    if isinstance(scheduler, int):
        settings = replace(settings, scheduler=Static(scheduler))
    *_, (state, plan) = play(settings, 2)
    slower_server = 0
    for place, client in enumerate(plan.clients_P.tolist()):
        kind, tier = state.environment.profile_K[client], plan.tiers_P[place]
        t_c, t_com, t_s = by_hand(settings, kind, 2 * (100 + 10 * client), tier)
        assert plan.compute_s_P[place] == pytest.approx(t_c, rel=1e-12)
        assert plan.transfer_s_P[place] == pytest.approx(t_com, rel=1e-12)
        assert plan.client_time_s_P[place] == pytest.approx(max(t_c + t_com, t_s + t_com), rel=1e-12)
        slower_server += t_s > t_c
    assert plan.clients_P.tolist() == list(range(10))
    assert plan.round_time_s == plan.client_time_s_P.max()
    assert plan.server_wait_s == 0
    if (scheduler, server_cpus) == (2, 0.5):
        # Both sides of the maximum are met.
        assert 0 < slower_server < 10


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


class Recorder:
    """Keeps what a scheduler is shown and gives all clients the tier of the middle column."""

    uses_times: ClassVar[bool] = True

    def __init__(self) -> None:
        self.shown: list[TierChoice] = []

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        self.shown.append(choice)
        return np.full(len(choice.times_s_KM), choice.tiers_M[1])


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


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 10), (0.3, 3), (0.34, 3), (0.01, 1)])
def test_a_fraction_of_the_clients_takes_part_each_once(make_schedule: MakeSchedule, fraction: float, count: int):
    groups = []
    for _, plan in play(make_schedule(fraction=fraction), 20):
        clients = plan.clients_P.tolist()
        assert clients == sorted(set(clients))
        assert len(clients) == count
        groups.append(tuple(clients))
    assert len(set(groups)) == 1 if count == 10 else len(set(groups)) > 5
    assert {client for group in groups for client in group} <= set(range(10))


def test_absent_clients_do_not_take_part(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"absent": 0.4, "leave": 0.2, "join": 0.3}, fraction=0.5)
    sizes = set()
    for state, plan in play(settings, 30):
        assert state.environment.present_K[plan.clients_P].all()
        assert len(plan.clients_P) == max(1, round(0.5 * state.environment.present_K.sum()))
        sizes.add(len(plan.clients_P))
    assert len(sizes) > 1


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


def images_of_first_batches(images: int, batch_size: int, epochs: int, batches: int) -> int:
    sizes = []
    for _ in range(epochs):
        left = images
        while left:
            sizes.append(min(left, batch_size))
            left -= sizes[-1]
    return sum(sizes[:batches])


@examples(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.data())
def test_images_are_those_in_the_first_batches(images: int, batch_size: int, epochs: int, data: st.DataObject):
    batches = data.draw(st.integers(0, epochs * -(-images // batch_size)))
    counted = images_of_first_batches(images, batch_size, epochs, batches)
    assert _images_in(np.array([batches]), np.array([images]), batch_size).tolist() == [counted]


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


def test_a_round_that_all_drop_out_of_still_takes_time(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 1.0}, first_tier="shallowest")
    state, plan = next(play(settings, 1))
    assert plan.dropped_P.all()
    assert (state.history.tier_K == NEVER).all()
    assert 0 < plan.round_time_s == state.clock.now_s


def test_a_probe_counts_even_if_the_client_then_drops_out(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 1.0})
    (state, first), (_, second) = play(settings, 2)
    cpus = np.array([PAPER[kind][0] for kind in state.environment.profile_K])
    per_image = settings.table.rows[0].client_train_macs / (cpus * CPU_MACS_PER_S)
    np.testing.assert_allclose(state.history.seconds_KM[:, 0], per_image, rtol=1e-12)
    assert np.isnan(state.history.seconds_KM[:, 1:]).all()
    assert second.tiers_P.tolist() == first.tiers_P.tolist() == papers_choice(settings, state.environment.profile_K)


@pytest.mark.parametrize("trains_first", [False, True])
def test_batches_wait_first_come_first_served(make_schedule: MakeSchedule, trains_first: bool):
    """Played in a thousand batches each, on one worker, from the parts that the paper's formula has."""
    settings = make_schedule(scheduler=Static(1), server=ServerCapacity(workers=1, cpus=0.2))
    settings = replace(settings, timing=Overlapping(trains_first=trains_first), table=releasing(settings.table))
    state, plan = next(play(settings, 1))
    batches, done, alone = [], [], []
    for client, kind in enumerate(state.environment.profile_K):
        t_c, t_com, t_s = by_hand(settings, kind, 100 + 10 * client, 1)
        t_release = t_c * settings.table.rows[0].release_macs / settings.table.rows[0].client_train_macs
        first, streaming = (t_c + t_com, t_release) if trains_first else (t_com, t_c + t_release)
        batches += [(first + i / 1000 * streaming, client, t_s / 1000) for i in range(1000)]
        done.append(first + streaming)
        alone.append(first + max(streaming, t_s))
    free_at = 0.0
    for arrival, client, work in sorted(batches):
        free_at = max(free_at, arrival) + work
        done[client] = max(done[client], free_at)
    expected = [max(both) for both in zip(done, alone, strict=True)]
    assert plan.client_time_s_P.tolist() == pytest.approx(expected, rel=0.005)
    assert plan.server_wait_s == pytest.approx(sum(expected) - sum(alone), rel=0.01)
    assert plan.server_wait_s > 100


def releasing(table: TierTable) -> TierTable:
    """Return the table with a forward pass for what is sent, as a defense that releases apart has it."""
    return replace(table, rows=tuple(replace(row, release_macs=row.client_forward_macs) for row in table.rows))


def train_first(make_schedule: MakeSchedule, **changes: object) -> ScheduleSettings:
    settings = make_schedule(**changes)
    return replace(settings, timing=Overlapping(trains_first=True), table=releasing(settings.table))


def first_by_hand(settings: ScheduleSettings, kind: int, images: int, tier: int) -> float:
    """Return T_train + T_com + max(T_release, T_s)."""
    t_train, t_com, t_s = by_hand(settings, kind, images, tier)
    row = next(row for row in settings.table.rows if row.tier == tier)
    return t_train + t_com + max(images * row.release_macs / (PAPER[kind][0] * CPU_MACS_PER_S), t_s)


@pytest.mark.parametrize("server_cpus", [8.0, 0.5])
def test_truth_estimates_and_oracle_know_who_trains_first(make_schedule: MakeSchedule, server_cpus: float):
    """Without chance all three are the same formula, and the paper's rule is applied to it."""
    recorder, server = Recorder(), ServerCapacity(workers=10, cpus=server_cpus)
    settings = train_first(make_schedule, scheduler=recorder, server=server)
    for state, plan in play(settings, 2):
        kinds, shown = state.environment.profile_K.tolist(), recorder.shown[-1]
        clients = list(zip(kinds, settings.images_K.tolist(), strict=True))
        times = [[first_by_hand(settings, *client, tier) for tier in (1, 2, 3, 4)] for client in clients]
        np.testing.assert_allclose(shown.times_s_KM, times, rtol=1e-12)
        assert shown.outlook is not None
        parts = (shown.outlook.arrival_s_KM, shown.outlook.streaming_s_KM, shown.outlook.service_s_KM)
        np.testing.assert_allclose(parts[0] + np.maximum(*parts[1:]), times, rtol=1e-12)
        t_max = max(map(min, times))
        oracles = [max(tier for tier in range(4) if row[tier] <= t_max) for row in times]
        assert plan.oracle_time_s == pytest.approx(max(row[m] for row, m in zip(times, oracles, strict=True)))
        if plan.round == 2:  # without the probe
            assert plan.client_time_s_P.tolist() == pytest.approx([row[1] for row in times], rel=1e-12)
    server_is_slower = [by_hand(settings, kind, 100, 2)[2] > 0.3 * by_hand(settings, kind, 100, 2)[0] for kind in kinds]
    assert server_cpus == 8.0 or len(set(server_is_slower)) == 2


def test_who_trains_first_and_vanishes_has_sent_nothing_or_a_share(make_schedule: MakeSchedule):
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


ALL_CHANCE = {
    "drift_share": 0.3,
    "drift_every": 2,
    "noise": 0.3,
    "dropout": 0.2,
    "absent": 0.3,
    "leave": 0.2,
    "join": 0.2,
}


def test_a_round_is_a_pure_function_of_state_and_number(make_schedule: MakeSchedule):
    settings = make_schedule(environment=ALL_CHANCE, fraction=0.7)
    state = ScheduleState.start(settings)
    for number in range(1, 8):
        untouched = copy.deepcopy(state)
        once, twice = schedule_round(state, settings, number), schedule_round(state, settings, number)
        assert_same(once[1], twice[1])
        assert_same(once[0], twice[0])
        assert_same(state, untouched)
        state = once[0]


def test_another_seed_gives_another_schedule(make_schedule: MakeSchedule):
    settings = make_schedule(environment=ALL_CHANCE, fraction=0.5, scheduler=Random())
    (_, first), (_, other) = next(play(settings, 1)), next(play(replace(settings, seed=5), 1))
    assert first.tiers_P.tolist() != other.tiers_P.tolist() or first.clients_P.tolist() != other.clients_P.tolist()


def test_virtual_time_is_the_sum_of_the_rounds_and_never_runs_back(make_schedule: MakeSchedule):
    played = list(play(make_schedule(environment=ALL_CHANCE), 20))
    for (before, _), (after, plan) in pairwise(played):
        assert plan.round_time_s > 0
        assert after.clock.now_s == before.clock.now_s + plan.round_time_s
    assert [plan.round for _, plan in played] == list(range(1, 21))


def test_bytes_and_macs_are_those_of_the_cost_table(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 0.4}, scheduler=Random(), local_epochs=2)
    rows = {row.tier: row for row in settings.table.rows}
    for _, plan in play(settings, 5):
        totals = {"down_weights": 0, "up_weights": 0, "up_smashed": 0, "up_labels": 0}
        totals |= {"up_statistics": 11, "down_statistics": 7} if plan.round == 1 else NO_TRAFFIC
        macs = {"client": 0, "server": 0}
        for place, tier in enumerate(plan.tiers_P.tolist()):
            images = int(plan.images_P[place])
            totals["down_weights"] += rows[tier].weight_bytes
            totals["up_weights"] += 0 if plan.dropped_P[place] else rows[tier].weight_bytes
            totals["up_smashed"] += images * rows[tier].smashed_bytes
            totals["up_labels"] += images * 8
            macs["client"] += images * rows[tier].client_train_macs
            macs["server"] += images * rows[tier].server_train_macs
        assert planned_bytes(plan, settings.table, {"up_statistics": 11, "down_statistics": 7}) == totals
        assert planned_macs(plan, settings.table) == macs
    assert plan.dropped_P.any()


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


def test_dynamic_tiers_follow_a_drift_within_a_few_rounds(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"drift_share": 0.5, "drift_every": 10})
    played = list(play(settings, 20))
    chosen = [plan.tiers_P.tolist() for _, plan in played]
    right = [papers_choice(settings, state.environment.profile_K.tolist()) for state, _ in played]
    assert right[9] != right[10]
    # The scheduler knows only what it has measured: in the round of the drift it still believes in the old speeds.
    assert chosen[10] == right[9]
    assert chosen[14:] == right[14:]


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


CHANGING = {"noise": 0.3, "drift_share": 0.5, "drift_every": 2, "dropout": 0.2}


class Listening:
    """The paper's scheduler, which notes how often clients are said to change."""

    uses_times = True

    def __init__(self) -> None:
        self.rates: list[float] = []

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        assert choice.outlook is not None
        self.rates.append(choice.outlook.change_rate)
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


def test_the_oracles_time_is_what_the_oracle_takes(make_schedule: MakeSchedule):
    settings = make_schedule(environment=CHANGING, server=ServerCapacity(workers=3, cpus=0.5))
    oracle = [plan for _, plan in play(replace(settings, scheduler=Oracle()), 6)]
    assert all(plan.round_time_s == plan.oracle_time_s for plan in oracle)
    for scheduler in (Dynamic(), Static(2), Random()):
        plans = [plan for _, plan in play(replace(settings, scheduler=scheduler), 6)]
        assert [plan.oracle_time_s for plan in plans] == [plan.round_time_s for plan in oracle]
        assert any(plan.round_time_s > 1.01 * plan.oracle_time_s for plan in plans)


def test_with_enough_workers_no_round_is_shorter_than_the_oracles(make_schedule: MakeSchedule):
    for scheduler in (Dynamic(), LastValue(), StaticProfile(), Efficient(), Random(), Static(1)):
        for _, plan in play(make_schedule(environment=CHANGING, scheduler=scheduler), 8):
            assert plan.round_time_s >= plan.oracle_time_s * (1 - 1e-12)


def test_without_a_choice_of_tiers_there_is_no_oracle(make_schedule: MakeSchedule, four_tiers: TierTable):
    _, plan = next(play(make_schedule(table=four_tiers.deepest(1), scheduler=Static(4)), 1))
    assert plan.oracle_time_s is None


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


def test_progress_is_learnt_from_those_who_stayed(make_schedule: MakeSchedule):
    settings = make_schedule(scheduler=Static(4))
    state, plan = next(play(settings, 1))
    assert learn_progress(state, plan, settings, None).progress == state.progress
    mixed = replace(plan, tiers_P=np.array([1] * 5 + [4] * 5), dropped_P=np.array([True] * 5 + [False] * 5))
    assert learn_progress(state, plan, settings, 2.0).progress.last_depth == pytest.approx(1.0)
    assert learn_progress(state, mixed, settings, 2.0).progress.last_depth == pytest.approx(1.0)
    shallow = replace(plan, tiers_P=np.ones(10, dtype=np.int64))
    assert learn_progress(state, shallow, settings, 2.0).progress.last_depth == 0.0


WRONG = {"profile_error": 0.5}


def mis_profiled(make_schedule: MakeSchedule, **changes: object) -> ScheduleSettings:
    """Return a schedule whose clients' true ratios between tiers are not those of the table."""
    settings = make_schedule(environment=WRONG, **changes)
    macs = np.diff([0, *(row.client_forward_macs for row in settings.table.rows), settings.table.forward_macs])
    return replace(settings, table=replace(settings.table, module_macs=tuple(macs.tolist())))


def slow(settings: ScheduleSettings) -> FloatArray:
    return slowness(settings.environment, settings.table.module_macs, settings.table.tiers_M)


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


def test_the_release_of_a_wrongly_profiled_client_is_as_slow_as_its_training(make_schedule: MakeSchedule):
    settings = mis_profiled(make_schedule, scheduler=Static(3))
    apart = replace(settings, timing=Overlapping(trains_first=True), table=releasing(settings.table))
    (_, plain), (_, plan) = next(play(settings, 1)), next(play(apart, 1))
    row = apart.table.rows[2]
    np.testing.assert_allclose(
        plan.compute_s_P, plain.compute_s_P * (1 + row.release_macs / row.client_train_macs), rtol=1e-12
    )


def test_a_resumed_run_has_the_same_wrong_profiles(prepare_tiny, play, tmp_path):
    """Nothing of them is in a checkpoint: they follow from the seed."""
    run = prepare_tiny(scheduler="dynamic", profile_error=0.5, cpu_gmacs=0.01)
    (first, _), (_, second) = play(run, 2)
    save_checkpoint(tmp_path, first)
    state = load_checkpoint(tmp_path, run.initial, run.settings.schedule, print)
    ((_, resumed),) = play(replace(run, initial=state))
    assert_same(resumed.plan, second.plan)
    ((_, right),) = play(prepare_tiny(scheduler="dynamic", cpu_gmacs=0.01))
    assert right.plan.round_time_s != play(run)[0][1].plan.round_time_s
