"""How often 95 % intervals of scores contain the truth, by simulation: the tables of docs/explanation/intervals.md.

python -m benchmarks.coverage
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import norm

from dtfl_private.leakage.intervals import Interval, bootstrap, mean, metric_interval, worst
from dtfl_private.leakage.membership_metrics import auc_interval
from dtfl_private.leakage.metrics import ACCURACY, SSIM
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import stream

REPETITIONS = 1000
DRAWS = 400
# How much of an image's score one repetition adds, in standard deviations of images.
WITHIN = 0.3

Images = Callable[[np.random.Generator, int], FloatArray]
SCORES: dict[str, tuple[Images, float, float]] = {
    # Images, true mean, standard deviation.
    "normal": (lambda rng, count: rng.normal(size=count), 0.0, 1.0),
    "lognormal": (lambda rng, count: rng.lognormal(size=count), float(np.exp(0.5)), 2.16),
}
SEEDS = {"little": 0.1, "as much": 1.0, "ten times as much": 10.0}


def main() -> None:
    """Print one line for each setting."""
    for name, (images, truth, deviation) in SCORES.items():
        for count in (16, 64):
            for seeds, spread in [(1, "little"), *((seeds, spread) for seeds in (2, 3, 10) for spread in SEEDS)]:
                rng = stream(0, "coverage", name, count, seeds, spread)
                # Against the standard error of the images' mean.
                apart = SEEDS[spread] * deviation / np.sqrt(count)
                found = (
                    bootstrap([_scores(rng, images, deviation, seeds, count, apart)], mean, rng, DRAWS)
                    for _ in range(REPETITIONS)
                )
                said = f"mean of {count} {name} images, {seeds} seeds that differ {spread}"
                print(f"{said}: {_covered(found, truth):.1%}", flush=True)
    for share in (0.0, 0.05, 0.2):
        for count in (16, 64):
            rng = stream(0, "coverage", "share", str(share), count)
            draws = ((rng.random((1, count)) < share).astype(float) for _ in range(REPETITIONS))
            covered = _covered((metric_interval(ACCURACY, scored, rng) for scored in draws), share)
            print(f"share of {share:g}, {count} images: {covered:.1%}", flush=True)
    for apart in (0.5, 2.0, 4.0):
        rng = stream(0, "coverage", "auc", str(apart))
        pairs = ((rng.normal(apart, 1, (1, 64)), rng.normal(size=(1, 64))) for _ in range(REPETITIONS // 4))
        truth = float(norm.cdf(apart / np.sqrt(2)))
        covered = _covered((auc_interval(*pair, rng) for pair in pairs), truth)
        print(f"AUC of {truth:.4f}, 64 members and 64 others: {covered:.1%}", flush=True)
    for count in (100, 1000):
        rng = stream(0, "coverage", "worst", count)
        found = (bootstrap([rng.normal(size=(1, count))], worst(SSIM), rng, DRAWS) for _ in range(REPETITIONS // 2))
        print(f"worst 5 % of {count} normal images: {_covered(found, norm.pdf(norm.ppf(0.95)) / 0.05):.1%}", flush=True)


def _scores(
    rng: np.random.Generator, images: Images, deviation: float, seeds: int, count: int, apart: float
) -> FloatArray:
    own = apart * rng.normal(size=(seeds, 1)) + WITHIN * deviation * rng.normal(size=(seeds, count))
    return np.asarray(images(rng, count)[None] + own)


def _covered(intervals: Iterator[Interval], truth: float) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


if __name__ == "__main__":
    main()
