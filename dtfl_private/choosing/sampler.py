"""What is tried next: points that Optuna's sampler proposes from what trials before have reached.

Each batch is asked of a new study, which is told all trials of the batches before in the order of their numbers, and of
a sampler with a seed of its own. So what is asked depends on nothing but that: not on which trial finished first, not
on whether the search was interrupted, and nothing of Optuna's is kept on the disk.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from dtfl_private.choosing.defense_choice import Dimension, Point, Value
from dtfl_private.choosing.space import Space
from dtfl_private.choosing.trial import Rules, Standing, objectives
from dtfl_private.errors import InputError
from dtfl_private.randomness import stream

if TYPE_CHECKING:
    from optuna import Study, Trial

# Proposals in a row that were tried before; after that the space is taken to be used up.
MOST_REPEATS = 60

# Trials before the sampler learns from them, and draws at random.
AT_RANDOM = 10


def require_optuna() -> None:
    """Raise `InputError` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401  # only whether it is there
    except ImportError:
        raise InputError("tune needs Optuna, which is not installed: pip install 'dtfl-private[tune]'") from None


def next_points(
    space: Space,
    told: Sequence[tuple[Point, Standing]],
    rules: Rules,
    *,
    count: int,
    batch: int,
    seed: int,
    is_new: Callable[[Point], bool],
) -> list[Point]:
    """Return points to try next; fewer where the space is used up.

    Args:
        space: to choose from.
        told: points that were tried, with how they stand, by number of the trial.
        rules: that are to be kept.
        count: wanted at once.
        batch: number of the batch.
        seed: of the search.
        is_new: whether a point would be a configuration that was not tried yet.
    """
    with _quiet():
        study = _study(space, told, rules, int(stream(seed, "tune", batch).integers(2**31)))
        found: list[Point] = []
        for _ in range(count + MOST_REPEATS):
            trial = study.ask()
            point = _asked(trial, space)
            if point not in found and is_new(point):
                found.append(point)
            if len(found) == count:
                break
    return found


def _study(space: Space, told: Sequence[tuple[Point, Standing]], rules: Rules, seed: int) -> "Study":
    import optuna

    sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=AT_RANDOM, multivariate=True, group=True, constant_liar=True
    )
    directions: list[Literal["minimize"]] = ["minimize"] * (2 + len(rules.limits))
    study = optuna.create_study(directions=directions, sampler=sampler)
    for point, stand in told:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(point),
                distributions={one.name: _distribution(one) for one in _dimensions(space, point)},
                values=list(objectives(stand, rules.limits)),
                constraints={str(number): excess for number, excess in enumerate(stand.by_value)},
            )
        )
    return study


def _dimensions(space: Space, point: Point) -> list[Dimension]:
    return [*space.first_dimensions(), *space.further_dimensions(point)]


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    wanted = dimension.range
    if wanted is None:
        return CategoricalDistribution(dimension.values)
    if wanted.whole:
        return IntDistribution(int(wanted.low), int(wanted.high), log=wanted.scale == "log")
    return FloatDistribution(float(wanted.low), float(wanted.high), log=wanted.scale == "log")


def _asked(trial: "Trial", space: Space) -> Point:
    point: dict[str, Value] = {}
    for dimension in space.first_dimensions():
        point[dimension.name] = _suggested(trial, dimension)
    # Strengths follow once it is chosen where a defense acts.
    while missing := [one for one in space.further_dimensions(point) if one.name not in point]:
        point |= {one.name: _suggested(trial, one) for one in missing}
    return point


def _suggested(trial: "Trial", dimension: Dimension) -> Value:
    wanted = dimension.range
    value: Value
    if wanted is None:
        value = trial.suggest_categorical(dimension.name, dimension.values)  # type: ignore[assignment]  # Optuna lets None be a choice, which is none here
    elif wanted.whole:
        value = trial.suggest_int(dimension.name, int(wanted.low), int(wanted.high), log=wanted.scale == "log")
    else:
        value = trial.suggest_float(dimension.name, float(wanted.low), float(wanted.high), log=wanted.scale == "log")
    return value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own lines away: it warns of options that it calls experimental, and logs every study."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def as_mapping(point: Point) -> Mapping[str, Value]:
    """Return a point with its dimensions in one order, so that equal points have equal texts."""
    return dict(sorted(point.items()))
