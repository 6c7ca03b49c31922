"""The grids of a preset: lists of values that are combined."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.plugins.own_objects import Allowed

# The largest of the project's own has 280.
MOST_RUNS = 2000


def require_bounded(grids: Sequence[Mapping[str, object]], seeds: Sequence[int], path: Path) -> None:
    """Refuse more runs than a sweep is made for, before they are laid out: lists multiply."""
    lengths = [[len(value) for value in axes.values() if isinstance(value, list)] for axes in grids]
    runs = sum(map(math.prod, lengths)) * len(seeds)
    if runs == 0:
        raise InputError(f"preset '{path}' describes no run: a list in it is empty")
    if runs > MOST_RUNS:
        raise InputError(f"preset '{path}' describes {runs:,} runs, more than {MOST_RUNS:,}: shorten its lists")


def combinations(axes: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Yield all combinations of the values that are lists; other values are the same in all."""
    choices = [value if isinstance(value, list) else [value] for value in axes.values()]
    for values in itertools.product(*choices):
        yield dict(zip(axes, values, strict=True))


def config_of(values: Mapping[str, object], path: Path, allowed: Allowed) -> TrainConfig:
    """Return the configuration with these values; what the preset may not name is refused."""
    try:
        config = make_config(values, str(path), allowed=allowed)
        config.require_allowed()
        return config
    except InputError as error:
        raise InputError(f"preset '{path}': {error}") from None
