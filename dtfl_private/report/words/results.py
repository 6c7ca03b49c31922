"""One result as people read it: its value, interval, advantage and p-value."""

from collections import Counter
from collections.abc import Iterable, Sequence

from dtfl_private.leakage.baselines import GUESSES, ORACLES
from dtfl_private.leakage.metrics import METRICS, find_metric
from dtfl_private.leakage.results.result import Result

NONE = "-"


# Below this p-values are shown as smaller: no test is exact so far out.
LEAST_PROBABILITY = 1e-12


def figure(value: float | None, metric: str) -> str:
    """Return a value in the metric's own digits; of an unknown metric in four."""
    if value is None:
        return NONE
    return f"{value:.{find_metric(metric).digits}f}" if metric in METRICS else f"{value:.4g}"


def interval(result: Result) -> str:
    """Return the 95 % interval of a result, for example "0.83 to 0.91"."""
    return f"{figure(result.ci_low, result.metric)} to {figure(result.ci_high, result.metric)}"


def advantage(result: Result) -> str:
    """Return by how much a result is beyond the trivial guess, for example "+0.120 (0.080 to 0.160)"."""
    if result.advantage is None:
        return NONE
    low, high = figure(result.advantage_ci_low, result.metric), figure(result.advantage_ci_high, result.metric)
    sign = "+" if result.advantage > 0 else ""
    return f"{sign}{figure(result.advantage, result.metric)} ({low} to {high})"


def probability(value: float | None) -> str:
    """Return a p-value in two digits, "< 1e-12" where it is smaller than anybody would believe."""
    if value is None:
        return NONE
    return f"{value:.2g}" if value >= LEAST_PROBABILITY else f"< {LEAST_PROBABILITY:g}"


def shape(cut: Iterable[int]) -> str:
    """Return a shape as "16x32x32"."""
    return "x".join(map(str, cut))


def attack_labels(results: Sequence[Result]) -> list[str]:
    """Return the name of each result's attack for people.

    With "not adaptive" where it did not use the defense's sampler, for which trivial guesses have no use, and a number
    from the second one on where several results of one tier and metric have the same name (other settings, another
    adversary).
    """
    seen: Counter[tuple[str, int, str]] = Counter()
    names = []
    for result in results:
        name = result.source if result.adaptive or result.source in GUESSES else f"{result.source}, not adaptive"
        seen[name, result.tier, result.metric] += 1
        number = seen[name, result.tier, result.metric]
        names.append(name if number == 1 else f"{name} #{number}")
    return names


def guess_label(name: str | None) -> str:
    """Return what a table or legend calls a trivial guess or an oracle."""
    return f"{'oracle' if name in ORACLES else 'guess'}: {name or 'trivial'}"
