"""The logic of the search over planted spaces, whose trials are formulas."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.choosing.defense_choice import DefenseChoice, Point, Range
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.points import without_defenses
from dtfl_private.choosing.ranking import dominates, frontier, fronts, in_order, nearest_misses, recommended
from dtfl_private.choosing.rungs import promoted
from dtfl_private.choosing.search import Ask, Ladder, Search
from dtfl_private.choosing.space import Space
from dtfl_private.choosing.trial import Leak, Measured, Rules, objectives, standing
from dtfl_private.errors import InputError, RunError

LIMITS = parse_limits(["ssim<=0.4"])
RULES = Rules(limits=LIMITS, max_accuracy_loss=0.2, max_time_ratio=1.5)

Planted = Callable[[Point], tuple[float, float, float]]
"""What a point comes to: accuracy, time, leak."""


def measured(
    ask: Ask, values: tuple[float, float, float], *, half: float = 0.0, inactive: Sequence[str] = ()
) -> Measured:
    accuracy, time_s, leak = values
    found = Leak(limit="ssim<=0.4", tier=1, source="decoder", value=leak, end=leak + half, other_end=leak - half, n=10)
    return Measured(
        trial=ask.trial,
        rung=ask.rung,
        point=dict(ask.point),
        outcome="done",
        accuracy=accuracy,
        images=1000,
        time_s=time_s,
        leaks=(found,),
        inactive=tuple(inactive),
    )


def noise_space() -> Space:
    """A range of noise, and two settings besides."""
    noise = DefenseChoice(name="gaussian-noise", settings={"sd": Range(low=0.01, high=10.0, scale="log")})
    drop = DefenseChoice(name="dropout", settings={"p": Range(low=0.1, high=0.9)})
    return Space(slots={"activations": [noise, drop]}, train={"wire": ["auto", "int8"]})


FIRST: list[Point] = [
    {"activations": "none", "train.wire": "auto"},
    {"activations": "gaussian-noise", "train.wire": "auto", "gaussian-noise.sd": 0.1},
    {"activations": "dropout", "train.wire": "auto", "dropout.p": 0.3},
]


def noisy(point: Point) -> tuple[float, float, float]:
    """Noise hides and costs; dropout costs more for less; int8 is faster."""
    sd, p = float(point.get("gaussian-noise.sd", 0)), float(point.get("dropout.p", 0))
    leak = 0.95 / (1 + sd) - 0.2 * p
    return 0.9 - 0.05 * sd - 0.3 * p, 10.0 if point.get("train.wire") == "auto" else 8.0, leak


def search_of(
    space: Space,
    planted: Planted,
    *,
    first: Sequence[Point] = FIRST,
    trials: int = 40,
    inactive: Callable[[Point], Sequence[str]] = lambda _: (),
    shuffled: int | None = None,
    stop_after: int | None = None,
    known: Mapping[tuple[int, int], Measured] | None = None,
    half: float = 0.0,
    kept: list[Measured] | None = None,
    possible: Callable[[Point], bool] = lambda _: True,
) -> Search:
    tried = [0]

    def evaluate(asks: Sequence[Ask], take: Callable[[Measured], None]) -> None:
        order = list(asks)
        if shuffled is not None:
            random.Random(shuffled + asks[0].trial).shuffle(order)
        for ask in order:
            if stop_after is not None and tried[0] == stop_after:
                raise RunError("killed")
            tried[0] += 1
            take(measured(ask, planted(ask.point), half=half, inactive=inactive(ask.point)))

    return Search(
        space=space,
        first=first,
        rules=RULES,
        ladder=Ladder(trials=trials, promoted=promoted(trials, 2)),
        evaluate=evaluate,
        keep=(lambda _: None) if kept is None else kept.append,
        possible=possible,
        without=lambda point, names: without_defenses(space, point, names),
        known=dict(known or {}),
    )


def carried_out(search: Search):
    search.begin()
    return search.carry_on()


def test_a_planted_best_point_in_a_range_is_found():
    """Noise of 1.375 just hides enough, and every bit more costs accuracy."""
    stands = carried_out(search_of(noise_space(), noisy))
    best = recommended(stands, LIMITS)[0]
    assert best.within
    assert best.measured.point["activations"] == "gaussian-noise"
    assert 1.375 <= best.measured.point["gaussian-noise.sd"] < 1.375 * 1.35
    assert best.measured.accuracy > 0.9 - 0.05 * 1.375 - 0.025


def finite_space() -> Space:
    choices = [
        DefenseChoice(name="quantize", settings={"bits": [4, 8]}),
        DefenseChoice(name="patch-shuffle", settings={"patch": [2, 4, 8]}),
    ]
    return Space(slots={"activations": choices}, train={"wire": ["auto", "int8"]})


@pytest.mark.parametrize("best_at", range(12))
def test_a_planted_best_point_of_a_finite_space_is_found_wherever_it_is(best_at):
    space = finite_space()
    points = list(space.points())
    assert len(points) == 12
    wanted = points[best_at]
    search = search_of(
        space, lambda point: (0.8, 10.0, 0.1) if point == wanted else (0.75, 10.0, 0.45), first=points[:1], trials=12
    )
    stands = carried_out(search)
    assert [stand.measured.point for stand in recommended(stands, LIMITS)] == [wanted]
    assert len(search.points) == 12


def test_a_finite_space_is_used_up_and_no_point_is_tried_twice():
    search = search_of(finite_space(), noisy, first=[{"activations": "none", "train.wire": "auto"}], trials=40)
    carried_out(search)
    assert search.used_up
    assert len(search.points) == 12
    assert len({search.same(point) for point in search.points}) == 12


@pytest.mark.parametrize("finite", [True, False])
def test_what_is_not_possible_takes_no_trial(finite):
    noise = DefenseChoice(name="gaussian-noise", settings={"sd": [0.1, 1.0] if finite else Range(low=0.1, high=1.0)})
    space = Space(slots={"activations": [noise]}, train={"wire": ["auto", "int8"]})
    search = search_of(space, noisy, first=FIRST[:2], trials=14, possible=lambda point: point["train.wire"] == "auto")
    carried_out(search)
    assert {point["train.wire"] for point in search.points} == {"auto"}
    assert len(search.points) == (3 if finite else 14)


def test_no_default_dominates_a_point_of_the_frontier():
    search = search_of(noise_space(), noisy)
    best = frontier(carried_out(search), LIMITS)
    assert best
    defaults = [
        standing(measured(Ask(trial=0, rung=1, point=point), noisy(point)), search.known[0, 1], RULES)
        for point in FIRST
    ]
    for default in defaults:
        assert not any(dominates(objectives(default, LIMITS), objectives(one, LIMITS)) for one in best)


def lucky(point: Point) -> tuple[float, float, float]:
    """A defense that does nothing, and happened to be attacked badly."""
    if point["activations"] == "channel-shuffle":
        return 0.9, 10.0, 0.1
    return noisy(point)


def test_a_defense_in_name_only_is_never_recommended_and_its_point_without_it_is_tried():
    reassuring = DefenseChoice(name="channel-shuffle")
    space = Space(slots={"activations": [reassuring]}, train={"wire": ["auto", "int8"]})
    search = search_of(
        space,
        lucky,
        first=[{"activations": "none", "train.wire": "auto"}, {"activations": "channel-shuffle", "train.wire": "int8"}],
        trials=4,
        inactive=lambda point: ("channel-shuffle",) if point["activations"] == "channel-shuffle" else (),
    )
    stands = carried_out(search)
    assert {"activations": "none", "train.wire": "int8"} in search.points
    for found in (recommended(stands, LIMITS), frontier(stands, LIMITS), nearest_misses(stands, LIMITS)):
        assert all(stand.measured.point["activations"] == "none" for stand in found)
    assert all(stand.measured.point["activations"] == "none" for stand in stands)


def test_where_no_point_is_within_none_is_recommended_and_the_nearest_are_named():
    stands = carried_out(search_of(noise_space(), lambda point: (*noisy(point)[:2], 0.9 - noisy(point)[2] / 10)))
    assert recommended(stands, LIMITS) == []
    misses = nearest_misses(stands, LIMITS)
    assert len(misses) == 3
    assert misses[0].violation == min(stand.violation for stand in stands)


def test_a_limit_is_held_against_the_end_of_the_interval_that_exposes_more():
    stands = carried_out(search_of(noise_space(), noisy, half=0.03))
    sure = [stand for stand in recommended(stands, LIMITS) if stand.within]
    assert sure
    assert recommended(stands, LIMITS)[: len(sure)] == sure
    assert all(stand.worst[0].value + 0.03 <= 0.4 + 1e-12 for stand in sure)


def known_of(search: Search) -> dict[tuple[int, int], Measured]:
    return dict(sorted(search.known.items()))


def test_what_is_tried_does_not_depend_on_which_trial_ends_first():
    first, second = (search_of(noise_space(), noisy, shuffled=seed) for seed in (1, 2))
    assert carried_out(first) == carried_out(second)
    assert known_of(first) == known_of(second)


@settings(max_examples=5, deadline=None)
@given(stop_after=st.integers(1, 20))
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(stop_after):
    whole = search_of(noise_space(), noisy, trials=16)
    expected = carried_out(whole)
    kept: list[Measured] = []
    stopped = search_of(noise_space(), noisy, trials=16, shuffled=3, stop_after=stop_after, kept=kept)
    try:
        carried_out(stopped)
    except RunError:
        assert len(kept) == stop_after
    resumed = search_of(noise_space(), noisy, trials=16, known={(one.trial, one.rung): one for one in kept})
    assert carried_out(resumed) == expected
    assert known_of(resumed) == known_of(whole)


def test_trials_of_another_search_are_refused():
    search = search_of(noise_space(), noisy, trials=8)
    carried_out(search)
    foreign = {key: one.model_copy(update={"point": {"activations": "none"}}) for key, one in search.known.items()}
    with pytest.raises(InputError, match="of another search"):
        carried_out(search_of(noise_space(), noisy, trials=8, known={**search.known, (5, 0): foreign[5, 0]}))


def test_a_configuration_that_is_refused_or_diverges_ends_the_search():
    for outcome, error in (("refused", InputError), ("diverged", RunError)):
        search = search_of(noise_space(), noisy)
        search.evaluate = lambda asks, take, outcome=outcome: take(
            Measured(trial=0, rung=0, point=dict(asks[0].point), outcome=outcome, why="so")
        )
        with pytest.raises(error, match="the configuration itself"):
            search.begin()


VALUES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(values=VALUES)
def test_fronts_hold_each_point_once_and_each_behind_the_first_is_dominated_from_the_one_before(values):
    found = fronts(values)
    assert sorted(at for front in found for at in front) == list(range(len(values)))
    assert all(not dominates(values[one], values[other]) for front in found for one in front for other in front)
    for before, after in pairwise(found):
        assert all(any(dominates(values[one], values[at]) for one in before) for at in after)


def stand(trial: int, accuracy: float, leak: float, *, outcome: str = "done"):
    ask = Ask(trial=trial, rung=0, point={})
    baseline = measured(Ask(trial=0, rung=0, point={}), (0.9, 10.0, 0.9))
    one = measured(ask, (accuracy, 10.0, leak)).model_copy(update={"outcome": outcome})
    return standing(one, baseline, RULES)


def test_trials_within_the_rules_are_promoted_before_others_and_the_ends_of_the_front_first():
    stands = [stand(1, 0.85, 0.3), stand(2, 0.9, 0.45), stand(3, 0.8, 0.1), stand(4, 0.82, 0.25), stand(5, 0.5, 0.0)]
    order = [one.measured.trial for one in in_order(stands, LIMITS)]
    assert set(order[:3]) == {1, 3, 4}
    assert set(order[:2]) == {1, 3}
    assert order[3:] == [2, 5]


def test_what_was_not_measured_is_not_within():
    baseline = measured(Ask(trial=0, rung=0, point={}), (0.9, 10.0, 0.9))
    unknown = Leak(limit="ssim<=0.4", tier=2, source="nothing", value=None, end=None, other_end=None)
    one = measured(Ask(trial=1, rung=0, point={}), (0.9, 10.0, 0.1))
    assert standing(one, baseline, RULES).within
    assert not standing(one.model_copy(update={"leaks": (*one.leaks, unknown)}), baseline, RULES).within
    # No tier that the limit is about: it holds.
    assert standing(one.model_copy(update={"leaks": ()}), baseline, RULES).within


def test_a_target_that_is_not_reached_breaks_the_limit_on_time():
    baseline = measured(Ask(trial=0, rung=0, point={}), (0.9, 10.0, 0.1))
    one = baseline.model_copy(update={"time_s": None, "trial": 1})
    assert not standing(one, baseline, RULES).within
    assert standing(one, baseline, RULES).time_ratio is None
    slow = baseline.model_copy(update={"time_s": 15.1})
    assert [part > 0 for part in standing(slow, baseline, RULES).excesses] == [False, False, True]
    assert math.isclose(standing(slow, baseline, RULES).time_ratio or 0, 1.51)
