"""How much likelier a release is of one image than of any, by what defenses say that a release shows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dtfl_private.protection.release_reading import Reading, expected_values

# Directions in which activations of images vary, at most.
RANK = 64
# Share of the variance that is taken for independent from value to value: few images know directions badly.
APART = 0.2
# A deviation is never taken for smaller than this share of the activations' own.
FLOOR = 1e-2


@dataclass(frozen=True, kw_only=True)
class ReadLikeness:
    """The likelihood ratio of "these are the activations of this image" against "of any image", as defenses are read.

    Values that a defense left out do not count, and noise weighs as its sampler says (`Defense.read`); what differs
    besides, as batch norm makes it, is learnt for each channel. Any image's activations are taken for normal, with the
    mean and the main directions of auxiliary ones (factor analysis), or for those of one of the auxiliary images: under
    much noise few images are enough to stand for all. Noise is taken for normal, but beside such images Laplace noise
    for what it is.

    Attributes:
        read: what a release shows.
        mean: of images' activations (D,), float64, as all below.
        directions: (K, D), whose squares add up to what images vary by together.
        apart: variance of each value by itself (D,).
        extra: variance (*cut shape) beside the defenses' noise, equal within a channel.
        any_of: (A, *cut shape) the expected activations of images of which any image is taken for one; None for normal.
        labels_of_any: (A,) their labels.
    """

    read: Callable[[Tensor], Reading]
    mean: Tensor
    directions: Tensor
    apart: Tensor
    extra: Tensor
    any_of: Tensor | None = None
    labels_of_any: Tensor | None = None

    @classmethod
    def fit(cls, read: Callable[[Tensor], Reading], released: Tensor, made: Tensor, of_any: Tensor) -> "ReadLikeness":
        """Estimate from releases (N, *cut shape), the expected activations of the same images, and those of any."""
        reading = read(released)
        expected, rows = expected_values(reading, made), expected_values(reading, of_any).flatten(1)
        mean = rows.mean(dim=0)
        apart = rows - mean
        _, sizes, directions = torch.linalg.svd(apart, full_matrices=False)
        kept = directions[:RANK] * (sizes[:RANK] * math.sqrt((1 - APART) / len(rows)))[:, None]
        floor = FLOOR**2 * rows.var(dim=0).mean().clamp(min=1e-12)
        rest = (apart.square().mean(dim=0) - kept.square().sum(dim=0)).clamp(min=float(floor))
        wrong = ((reading.values.double() - expected).square() - reading.noise_variance) * reading.shown
        of_channel = (0, *range(2, wrong.ndim)) if wrong.ndim > 2 else (0, 1)
        shown = reading.shown.double().sum(dim=of_channel, keepdim=True)
        extra = (wrong.sum(dim=of_channel, keepdim=True) / shown.clamp(min=1)).clamp(min=float(floor))
        extra = extra.expand(1, *wrong.shape[1:])[0]
        return cls(read=read, mean=mean, directions=kept, apart=rest, extra=extra)

    def log_ratios(self, made: Tensor, released: Tensor, tells: Tensor | None = None) -> Tensor:
        """Return log p(release | this image) - log p(release) of expected activations and releases (N, releases).

        Args:
            made: expected activations (N, *cut shape).
            released: what was sent (releases, *cut shape).
            tells: log of the probability of each release's label, given each of the images `any_of` (A, releases): then
                any image is one of which that label was sent, and p(release) is that of the label, too.
        """
        reading = self.read(released)
        if self.any_of is not None and reading.shape == "laplace":
            return self._of_any_there(partial(laplace_densities, reading, self.extra), made, tells)
        values, shown = reading.values.double().flatten(1), reading.shown.double().flatten(1)
        noise = (reading.noise_variance + self.extra).flatten(1)
        weights = shown / noise

        def density(activations: Tensor) -> Tensor:
            own = expected_values(reading, activations).flatten(1)
            squares = own.square() @ weights.T - 2 * own @ (values * weights).T + (values.square() * weights).sum(dim=1)
            return -(squares + (noise.log() * shown).sum(dim=1)) / 2

        if self.any_of is not None:
            return self._of_any_there(density, made, tells)
        records = zip(values, shown, noise, strict=True)
        return density(made) - torch.stack([self._of_any(*record) for record in records])

    def _of_any_there(self, density: Callable[[Tensor], Tensor], made: Tensor, tells: Tensor | None) -> Tensor:
        """Return log ratios where any image is one of `any_of`; ``density`` is log p(release | image)."""
        assert self.any_of is not None
        of_any = density(self.any_of)
        of_any = of_any if tells is None else of_any + tells.to(of_any)
        return density(made) - (of_any.logsumexp(dim=0) - math.log(len(self.any_of)))

    def _of_any(self, values: Tensor, shown: Tensor, noise: Tensor) -> Tensor:
        """Return log p(release) of one record's values (D,), but for the constant that `log_ratios` leaves out too."""
        variance, away = self.apart + noise, values - self.mean
        weighed = self.directions * (shown / variance)
        # By the lemmas of Woodbury and of the determinant, in as many dimensions as there are directions.
        inner = torch.linalg.cholesky(
            torch.eye(len(weighed), dtype=weighed.dtype, device=weighed.device) + weighed @ self.directions.T
        )
        explained = torch.linalg.solve_triangular(inner, (weighed @ away)[:, None], upper=False)
        square = (away.square() * shown / variance).sum() - explained.square().sum()
        density: Tensor = -(square + (variance.log() * shown).sum() + 2 * inner.diagonal().log().sum()) / 2
        return density


def laplace_densities(reading: Reading, extra: Tensor, made: Tensor) -> Tensor:
    """Return log p(release | image) (N, releases) under Laplace noise and normal deviations beside it.

    The density of their sum: the two exponential halves of Laplace's, each through the normal distribution function.

    Args:
        reading: of the releases.
        extra: variance (*cut shape) of the normal deviations.
        made: expected activations (N, *cut shape).
    """
    expected, scales = expected_values(reading, made).flatten(1), (reading.noise_variance / 2).sqrt().flatten(1)
    beside = extra.flatten().sqrt()
    found = []
    for values, shown, scale in zip(reading.values.double().flatten(1), reading.shown.flatten(1), scales, strict=True):
        apart, width = (values - expected) / scale, beside / scale
        upper = torch.special.log_ndtr(apart / width - width) - apart
        lower = torch.special.log_ndtr(-apart / width - width) + apart
        density = torch.logaddexp(upper, lower) + width.square() / 2 - (2 * scale).log()
        found.append((density * shown).sum(dim=1))
    return torch.stack(found, dim=1)
