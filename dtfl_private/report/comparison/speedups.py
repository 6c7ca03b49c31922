"""How many times sooner than a baseline a group of runs reaches the target."""

from dataclasses import dataclass

from dtfl_private.report.comparison.groups import Group


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """How many times sooner than the baseline a group reaches the target, in simulated time.

    Attributes:
        value: the baseline's mean time over the group's.
        at_least: a bound instead, when some run of the baseline never reached the target.
        at_most: a bound instead, when some run of the group never did. With both, or no target, nothing is known.
        low: the smallest ratio of two runs of equal seeds.
        high: the largest one.
    """

    value: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    low: float | None = None
    high: float | None = None


def speedup(group: Group, baseline: Group | None) -> Speedup:
    """Return a group's speed-up against the baseline."""
    if baseline is None:
        return Speedup()
    own, other = group.to_target("time_s"), baseline.to_target("time_s")
    if own.mean and other.mean:
        ratios = _ratios_by_seed(group, baseline)
        low, high = (min(ratios), max(ratios)) if ratios else (None, None)
        return Speedup(value=other.mean / own.mean, low=low, high=high)
    if own.mean and other.at_least:
        return Speedup(at_least=other.at_least / own.mean)
    if own.at_least and other.mean:
        return Speedup(at_most=other.mean / own.at_least)
    return Speedup()


def _ratios_by_seed(group: Group, baseline: Group) -> list[float]:
    """Return the ratios of the times of runs of equal seeds, all of which reached the target."""
    others = {run.seed: run.course.to_target(run.target)["time_s"] for run in baseline.runs}
    own = {run.seed: run.course.to_target(run.target)["time_s"] for run in group.runs}
    return [other_s / own_s for seed, own_s in own.items() if own_s and (other_s := others.get(seed)) is not None]
