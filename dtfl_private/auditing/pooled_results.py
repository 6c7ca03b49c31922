"""Results of several trainings pooled into one."""

from collections.abc import Callable, Iterable, Sequence

from dtfl_private.attacking.scoring.results_file import result_key
from dtfl_private.leakage.results.result import Result


def pooled(groups: Sequence[Sequence[Result]]) -> list[Result]:
    """Return the results of several trainings as one: mean values, and intervals that contain each training's own.

    So an interval covers the chance of attack, images and training, and is wide rather than narrow: three trainings
    are too few to say how they are distributed. The p-value is the largest: the trivial guess is beaten in each
    training. Results that not all trainings have are left out.
    """
    if len(groups) == 1:
        return list(groups[0])
    by_key = [{result_key(result): result for result in group} for group in groups]
    return [_pool([own[key] for own in by_key]) for key in by_key[0] if all(key in own for own in by_key)]


def _pool(results: Sequence[Result]) -> Result:
    return results[0].model_copy(
        update={
            "value": sum(result.value for result in results) / len(results),
            "ci_low": min(result.ci_low for result in results),
            "ci_high": max(result.ci_high for result in results),
            "baseline": _mean([result.baseline for result in results]),
            "advantage": _mean([result.advantage for result in results]),
            "advantage_ci_low": _end([result.advantage_ci_low for result in results], min),
            "advantage_ci_high": _end([result.advantage_ci_high for result in results], max),
            "p_value": _end([result.p_value for result in results], max),
            "undefended": _mean([result.undefended for result in results]),
            "n": min(result.n for result in results),
            "seeds": sum(result.seeds for result in results),
        }
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if any value is not known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _end(values: Sequence[float | None], pick: Callable[[Iterable[float]], float]) -> float | None:
    """Return the least or largest value; None if any is not known."""
    known = [value for value in values if value is not None]
    return pick(known) if len(known) == len(values) else None
