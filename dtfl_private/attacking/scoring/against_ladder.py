"""How an attack from outside compares with the ladder: victim by victim, in a line for each tier."""

from collections.abc import Collection, Sequence

from dtfl_private.attacking.scoring.scoring import Pictured, Verdict
from dtfl_private.leakage.intervals import difference_interval
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import stream

COMPARED = ("psnr", "ssim")


def compared_with_ladder(verdicts: Sequence[Verdict], outside: Collection[str]) -> list[str]:
    """Return a line for each reconstruction from outside at each tier: the ladder's best, and by how much it is better.

    The ladder's best is that of the highest mean; differences are paired victim by victim.

    Args:
        verdicts: of all attacks.
        outside: names of the attacks from outside.
    """
    lines = []
    for verdict in verdicts:
        rungs = [
            other
            for other in verdicts
            if other.job.tier == verdict.job.tier
            and other.job.chosen.name not in outside
            and other.pictured is not None
        ]
        if verdict.job.chosen.name in outside and verdict.pictured is not None and rungs:
            lines.append(_line(verdict, verdict.pictured, rungs))
    return lines


def _line(verdict: Verdict, own: Pictured, rungs: Sequence[Verdict]) -> str:
    parts = []
    for name in COMPARED:
        scores = {rung.job.chosen.name: rung.pictured.scores[name] for rung in rungs if rung.pictured is not None}
        best = max(scores, key=lambda rung: float(scores[rung].mean()))
        parts.append(_difference(name, own.scores[name], scores[best], best))
    return f"tier {verdict.job.tier}, {verdict.job.chosen.name} against the ladder: {'; '.join(parts)}"


def _difference(name: str, own_SN: FloatArray, best_SN: FloatArray, best: str) -> str:
    metric = find_metric(name)
    if own_SN.shape[1] != best_SN.shape[1]:  # a malicious server's victims may be fewer
        return f"{metric.label} of other victims than {best}"
    # Repetitions of two attacks have nothing in common: their means over repetitions are compared.
    found = difference_interval(
        own_SN.mean(axis=0, keepdims=True), best_SN.mean(axis=0, keepdims=True), stream(0, "ladder", name)
    )
    value, low, high = (f"{figure:+.{metric.digits}f}" for figure in (found.value, found.low, found.high))
    means = f"{own_SN.mean():.{metric.digits}f}, {best} {best_SN.mean():.{metric.digits}f}"
    return f"{metric.label} {means}: {value} ({low} to {high})"
