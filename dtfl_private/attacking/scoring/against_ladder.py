"""How an attack from outside compares with the ladder: victim by victim, in a line for each tier."""

from collections.abc import Collection, Sequence

import numpy as np

from dtfl_private.attacking.attack_goals import aim_of
from dtfl_private.attacking.scoring.judged import Scored
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.leakage.intervals import Interval, bootstrap, mean
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.significance import bounded_difference
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.randomness import stream


def compared_with_ladder(verdicts: Sequence[Verdict], outside: Collection[str]) -> list[str]:
    """Return a line for each attack from outside at each tier: the ladder's best, and by how much it is better.

    By PSNR and SSIM, the AUC of memberships, the accuracy of properties and labels. The ladder's best is that of the
    highest value; differences are paired victim by victim.

    Args:
        verdicts: of all attacks.
        outside: names of the attacks from outside.
    """
    ladder = [verdict for verdict in verdicts if verdict.job.chosen.name not in outside]
    lines = []
    for verdict in verdicts:
        rungs = {rung.job.chosen.name: rung.scored for rung in ladder if rung.scored and _is_rung(rung, verdict)}
        if verdict.job.chosen.name in outside and verdict.scored is not None and rungs:
            compared = "; ".join(_compared(verdict.scored, rungs))
            lines.append(f"tier {verdict.job.tier}, {verdict.job.chosen.name} against the ladder: {compared}")
    return lines


def _is_rung(rung: Verdict, verdict: Verdict) -> bool:
    """Whether an attack of the ladder is after the same there; what does not depend on the tier counts at each."""
    one, other = rung.job.chosen.attack, verdict.job.chosen.attack
    return aim_of(type(one)) is aim_of(type(other)) and (rung.job.tier == verdict.job.tier or not one.facts.per_tier)


def _compared(own: Scored, rungs: dict[str, Scored]) -> list[str]:
    alike = {name: rung for name, rung in rungs.items() if rung.is_of_the_same_as(own)}
    if not alike:  # a malicious server's victims may be fewer, a property may be another one
        return [f"of other victims, or after something else, than {', '.join(rungs)}"]
    parts = []
    for name, groups in own.scores.items():
        best = max(alike, key=lambda rung: _value(alike[rung].scores[name]))
        parts.append(_difference(name, groups, alike[best].scores[name], best))
    return parts


def _difference(name: str, own: Sequence[FloatArray], best: Sequence[FloatArray], rung: str) -> str:
    metric = find_metric(name)
    # Repetitions of two attacks have nothing in common: their means over repetitions are compared.
    groups = [
        one_SN.mean(axis=0, keepdims=True) - other_SN.mean(axis=0, keepdims=True)
        for one_SN, other_SN in zip(own, best, strict=True)
    ]
    found: Interval = bootstrap(groups, _sum_of_means, stream(0, "ladder", name))
    if metric.share:
        found = bounded_difference(found, groups[0].shape[1])
    value, low, high = (f"{figure:+.{metric.digits}f}" for figure in (found.value, found.low, found.high))
    means = f"{_value(own):.{metric.digits}f}, {rung} {_value(best):.{metric.digits}f}"
    return f"{metric.label} {means}: {value} ({low} to {high})"


def _value(groups: Sequence[FloatArray]) -> float:
    return float(sum(group_SN.mean() for group_SN in groups))


def _sum_of_means(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
    return np.asarray(sum(mean([group_N], [drawn]) for group_N, drawn in zip(groups, counts, strict=True)))
