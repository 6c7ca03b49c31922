"""What a measure looks at, what it returns, and the base of all measures.

A measure is a frozen value: settings only. It gets a `Release` and returns figures; chance comes from the release's
seed. It never trains anything. No figure is a proof of safety, and each says in its facts what it does not say.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.leakage.intervals import Interval
from dtfl_private.protection.cost import KnownNoise
from dtfl_private.protocol.contracts import FloatArray

# The normal quantile of a 95 % interval.
NORMAL_QUANTILE = 1.959964


@dataclass(frozen=True, kw_only=True)
class MeasureFacts:
    """What a user must know of a measure; the columns of ``list measures``.

    says: what its figures mean.
    does_not_say: what must not be read into them.
    source: the paper it is from.
    """

    says: str
    does_not_say: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a measure.

    Attributes:
        metric: its name, one of `dtfl_private.leakage.metrics.METRICS`.
        value: the number.
        low, high: its 95 % interval; both the value itself where the figure has no spread that could be sampled.
        n: records (or canaries) that it comes from.
        p_value: of a proof, the probability of as much or more by chance alone; None of what proves nothing.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    p_value: float | None = None

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, (self.low, self.value, self.high))) and self.low <= self.value <= self.high):
            raise ValueError(f"{self.metric}: {self.low} <= {self.value} <= {self.high} must hold, all finite")
        if self.p_value is not None and not 0 <= self.p_value <= 1:
            raise ValueError(f"{self.metric}: p-value {self.p_value} is no probability")


@dataclass(frozen=True, kw_only=True)
class Release:
    """What one client half released of n records, and the way it came about.

    Batch norm in training mode couples the records of a batch. So records lie in whole batches, in the order in which
    they were sent, and ``encoder`` and ``release`` are given whole batches only.

    Attributes:
        images: (n, C, H, W) float32 in [0, 1], as fed.
        labels: (n,) as sent.
        smashed: (n, *cut shape) float32, as received, with the defenses' own draws.
        batch_size: records per batch; divides n.
        encoder: from a batch of images to the activations before any defense; differentiable by autograd; must not
            change between calls.
        release: from (images, labels, draw) of a batch to what would be received, with the defenses' fresh draws of
            this number.
        noise: what is known of the Gaussian noise between the two; see
            `dtfl_private.protection.defense_chain.DefenseChain.known_noise`.
        releases: how often each record was sent over the run.
        delta: at which epsilon is stated.
        auxiliary: (k, C, H, W) images of the same kind that the adversary has, for what it knows beforehand; the
            victims' own if not given.
        seed: of the measures' own chance.
    """

    images: Tensor
    labels: Tensor
    smashed: Tensor
    batch_size: int
    encoder: Callable[[Tensor], Tensor]
    release: Callable[[Tensor, Tensor, int], Tensor]
    noise: KnownNoise = field(default_factory=lambda: KnownNoise(reason="nothing is known of any noise"))
    releases: int = 1
    delta: float = 1e-5
    auxiliary: Tensor | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), len(self.smashed)}
        if len(counts) != 1 or not self.records or self.batch_size < 1 or self.records % self.batch_size:
            held = " or ".join(map(str, sorted(counts)))
            raise ValueError(f"{held} images, labels and activations are no whole batches of {self.batch_size}")
        if not (self.images.is_floating_point() and self.images.ndim == 4):
            raise ValueError(f"images must be floating point (n, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.releases < 1 or not 0 < self.delta < 1:
            raise ValueError(f"releases={self.releases} must be positive, delta={self.delta} between 0 and 1")

    @property
    def records(self) -> int:
        """Number of records n."""
        return len(self.images)

    @property
    def input_values(self) -> int:
        """Number of values d of an image."""
        return self.images[0].numel()

    def batches(self) -> Iterator[slice]:
        """Yield the batches, in order."""
        yield from (slice(start, start + self.batch_size) for start in range(0, self.records, self.batch_size))

    @torch.no_grad()
    def activations(self) -> Tensor:
        """Return the activations before any defense (n, values), float32, on the CPU."""
        found = [self.encoder(self.images[batch]).detach().flatten(1).float().cpu() for batch in self.batches()]
        return torch.cat(found)


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """Base of all measures."""

    facts: ClassVar[MeasureFacts]

    @abstractmethod
    def figures(self, release: Release) -> Sequence[Figure]:
        """Return the figures.

        Raises:
            InputError: the release has too few records.
        """

    def remarks(self, release: Release) -> Sequence[str]:
        """Return why figures that a reader may expect are not there; nothing if all are."""
        return ()


def require_records(release: Release, least: int, asked: int, measure: str) -> None:
    """Refuse a release of fewer records than ``least``; ``asked`` is what the user is told to bring.

    Raises:
        InputError: there are fewer.
    """
    if release.records < least:
        raise InputError(
            f"{measure} needs {asked} records or more, and {least} at least, not {release.records}: use more"
        )


def exact(metric: str, value: float, n: int, p_value: float | None = None) -> Figure:
    """Return a figure without an interval of its own."""
    return Figure(metric=metric, value=value, low=value, high=value, n=n, p_value=p_value)


def with_interval(metric: str, found: Interval, n: int) -> Figure:
    """Return a figure with its interval."""
    return Figure(metric=metric, value=found.value, low=found.low, high=found.high, n=n)


def jackknifed(whole: float, without_N: FloatArray) -> Interval:
    """Return a statistic, corrected for its bias of order 1/n, with a normal 95 % interval (Quenouille, Tukey).

    Args:
        whole: of all records.
        without_N: of all records but one, for each.
    """
    count, mean = len(without_N), float(without_N.mean())
    corrected = count * whole - (count - 1) * mean
    reach = NORMAL_QUANTILE * jackknife_deviation(without_N)
    return Interval(value=corrected, low=corrected - reach, high=corrected + reach)


def jackknife_deviation(without_N: FloatArray) -> float:
    """Return the standard deviation of a statistic, from its values without each of the records (Tukey 1958)."""
    return float(((len(without_N) - 1) * without_N.var()) ** 0.5)
