"""A ceiling on what smashed data tell of an image: the capacity of the Gaussian channel that they pass.

With Gaussian noise of standard deviation s on activations of variances v_j, whatever their distribution,

    I(X; Z) <= 1/2 log2 det(1 + V / s^2) <= 1/2 sum_j log2(1 + v_j / s^2)  bits a record,

V their covariance (Cover and Thomas 2006, theorem 8.6.5 and Hadamard's inequality). The determinant of a sample
covariance of fewer records than values is far too small, so that it would be no ceiling; the sum over the values' own
variances is one. Where defenses act before the noise, bringing records closer, variances may move from one value to
another but their sum does not grow: then all values count with the mean variance, which can only raise the ceiling.

The figures are jackknifed: corrected for what logarithms of sampled variances miss. Of a value that is active in a few
of the records, or in none, the variance is not known from them: neither the figure nor its interval covers what it does
in others, and both may be too low (`MutualInformation.remarks` says of how many values). Releases add their information
at most: a cumulated ceiling is as many times one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.measures.base import (
    Figure,
    Measure,
    MeasureFacts,
    Release,
    jackknifed,
    require_records,
    with_interval,
)

LEAST_RECORDS = 20
ASKED_RECORDS = 500
# Eigenvalues of a sample covariance are of use from this many records per value on.
RECORDS_PER_VALUE = 4
# An image of 64 bits is one of 2^64: enough to tell records apart, little of what is on them.
TARGET_BITS = 64
# Fewer active records than these do not tell a variance.
RARE = 10
# Values at a time, for the memory.
CHUNK = 1024
# The noise is sought between the activations' deviation times 2^-40 and 2^40, to a factor of 2^-50.
SEARCH = 40
BISECTIONS = 57


@dataclass(frozen=True, kw_only=True)
class MutualInformation(Measure):
    """Bound the bits that a record's smashed data tell of its image, where the noise is known.

    Without noise there is no bound. Then the figure is the noise that would set the ceiling to 64 bits.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="under Gaussian noise, how many bits a record's smashed data can tell of its image at most",
        does_not_say="which bits: a few are enough for a class or an identity; the ceiling may be far above the truth, "
        "and its interval does not cover values that hardly any of the records make vary",
        source="Cover and Thomas 2006 (Elements of Information Theory, sections 8.6 and 17.9)",
    )

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return the ceiling, by eigenvalues too where records are many; without known noise, the noise needed."""
        require_records(release, LEAST_RECORDS, ASKED_RECORDS, "mutual-information")
        activations, std = release.activations().double(), release.noise.std
        if std is None:
            found = {"noise-for-mi-64-bits": _noise_for(Channel(activations), TARGET_BITS)}
            if release.releases > 1:
                found["noise-for-mi-64-bits-cumulated"] = _noise_for(
                    Channel(activations), TARGET_BITS / release.releases
                )
        else:
            ceiling = Channel(activations, pooled=release.noise.contracted).ceiling(std)
            found = {"mi-ceiling-bits": ceiling}
            if release.releases > 1:
                found["mi-ceiling-bits-cumulated"] = _scaled(ceiling, release.releases)
            count, values = activations.shape
            if count >= RECORDS_PER_VALUE * values and not release.noise.contracted:
                found["mi-gaussian-bits"] = _positive(_by_eigenvalues(activations, std))
        return [with_interval(metric, interval, release.records) for metric, interval in found.items()]

    def remarks(self, release: Release) -> Sequence[str]:
        """Return why there is no ceiling, and of how many values the records tell too little."""
        found = [] if release.noise.std is not None else [f"no ceiling on the information: {release.noise.reason}"]
        activations = release.activations().double()
        rare, values = rarely_active(activations), activations.shape[1]
        if rare:
            found.append(
                f"{rare} of {values} values of the smashed data vary in under {RARE} of {release.records} records, "
                "or in none: intervals do not cover what these do in other records, and figures may be too low"
            )
        return tuple(found)


def rarely_active(activations: Tensor) -> int:
    """Return how many values of activations (n, values) vary in fewer than `RARE` records, the few counted by weight.

    (sum of squares)^2 / (sum of fourth powers) of the deviations is k for a value that k records raise alike.
    """
    squares = (activations - activations.mean(dim=0)).square()
    totals = squares.sum(dim=0)
    return int((totals.square() < RARE * squares.square().sum(dim=0)).sum() + (totals == 0).sum())


class Channel:
    """Variances of activations, of all records and without each one.

    Args:
        activations: (n, values), float64; changed.
        pooled: count every value with the mean variance.
    """

    def __init__(self, activations: Tensor, *, pooled: bool = False) -> None:
        count = len(activations)
        self._squares = (activations - activations.mean(dim=0)).square()
        self._variances = self._squares.sum(dim=0) / (count - 1)
        self._copies = 1
        if pooled:
            self._copies = activations.shape[1]
            self._squares = self._squares.mean(dim=1, keepdim=True)
            self._variances = self._variances.mean(dim=0, keepdim=True)

    @property
    def deviation(self) -> float:
        """The largest standard deviation of a value."""
        return math.sqrt(float(self._variances.max()))

    def bits(self, std: float) -> float:
        """Return the ceiling from the sampled variances, without correction."""
        return self._copies * float(torch.log1p(self._variances / std**2).sum()) / (2 * math.log(2))

    def slope(self, std: float) -> float:
        """Return by how many bits the ceiling falls when the logarithm of the noise grows by 1."""
        return self._copies * float((self._variances / (std**2 + self._variances)).sum()) / math.log(2)

    def ceiling(self, std: float) -> Interval:
        """Return the ceiling in bits, jackknifed."""
        count = len(self._squares)
        without = torch.zeros(count, dtype=torch.float64)
        for squares, variances in zip(
            torch.split(self._squares, CHUNK, dim=1), torch.split(self._variances, CHUNK), strict=True
        ):
            left = ((count - 1) * variances - count / (count - 1) * squares) / (count - 2)
            without += torch.log1p(left.clamp(min=0) / std**2).sum(dim=1)
        return _positive(jackknifed(self.bits(std), np.asarray(self._copies * without / (2 * math.log(2)))))


def _noise_for(channel: Channel, bits: float) -> Interval:
    """Return the standard deviation of noise that sets the ceiling to ``bits``; 0 if the activations are constant."""
    if channel.deviation == 0:
        return Interval(value=0.0, low=0.0, high=0.0)
    low, high = (math.log(channel.deviation) + sign * SEARCH * math.log(2) for sign in (-1, 1))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if channel.bits(math.exp(middle)) > bits else (low, middle)
    there = channel.ceiling(math.exp(high))
    # To first order, noise makes up for what the ceiling is off.
    moved = [high + (bits_there - bits) / channel.slope(math.exp(high)) for bits_there in _ends(there)]
    low_std, std, high_std = map(math.exp, moved)
    return Interval(value=std, low=low_std, high=high_std)


def _by_eigenvalues(activations: Tensor, std: float) -> Interval:
    """Return 1/2 log2 det(1 + V / s^2), jackknifed; leaving a record out changes V by a matrix of rank one."""
    count, values = activations.shape
    rows = activations - activations.mean(dim=0)
    covariance = rows.T @ rows / (count - 1)
    noise = std**2 * torch.eye(values, dtype=rows.dtype)
    whole = torch.logdet(covariance + noise)
    grown = covariance * (count - 1) / (count - 2) + noise
    reached = (rows * torch.linalg.solve(grown, rows.T).T).sum(dim=1) * count / ((count - 1) * (count - 2))
    without = torch.logdet(grown) + torch.log1p(-reached)
    in_bits = [(determinant - values * math.log(std**2)) / (2 * math.log(2)) for determinant in (whole, without)]
    return jackknifed(float(in_bits[0]), np.asarray(in_bits[1]))


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.low, found.value, found.high


def _positive(found: Interval) -> Interval:
    low, value, high = (max(0.0, end) for end in _ends(found))
    return Interval(value=value, low=low, high=high)


def _scaled(found: Interval, factor: float) -> Interval:
    low, value, high = (end * factor for end in _ends(found))
    return Interval(value=value, low=low, high=high)
