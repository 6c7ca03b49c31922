"""A result next to the best trivial guess, compared with it victim by victim."""

from collections.abc import Mapping

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.metrics import Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import paired_advantage
from dtfl_private.protocol.contracts import FloatArray


def against_best_guess(
    metric: Metric, found: Interval, scores_SN: FloatArray, trivial: Mapping[str, FloatArray], heading: Heading
) -> Result:
    """Return a result next to the best trivial guess, with the advantage over it (`paired_advantage`)."""
    best = best_guess(metric, {name: float(scores_N.mean()) for name, scores_N in trivial.items()})
    rng = heading.draws(f"{metric.name}-advantage")
    advantage = paired_advantage(metric, scores_SN, trivial, best[0], rng)
    n, seeds = scores_SN.shape[1], len(scores_SN)
    return heading.result(metric.name, found, baseline=best, advantage=advantage, n=n, seeds=seeds)


def best_guess(metric: Metric, values: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and value of the trivial guess that exposes most."""
    pick = max if metric.exposing == "high" else min
    return pick(values.items(), key=lambda named: named[1])
