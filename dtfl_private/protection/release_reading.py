"""What a release shows of the activations that it was made from: the likelihood, for an attacker who knows the sampler.

A reading begins as the release itself and goes backwards through the defenses, the last first; each says what of its
randomness shows, and what does not (`Defense.read`). At the end it is compared with activations that an attacker
computes of its guess. An order that a shuffle drew is not in it: that is searched for apart.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dtfl_private.protocol.messages import State

NoiseShape = Literal["normal", "laplace", "uniform"]

# Values are sent in a type of limited precision, and networks compute in one: what is not noisy is compared with this
# deviation, relative to the root mean square of what shows.
PRECISION = 1e-3

# Weight of the residual under uniform noise. On digits rounded to 4 bits, searches of 300 steps reached 41.9 dB without
# it, 43.7 with this weight, and 40.7 by the residual alone (ResNet-8, tier 1, 32 images).
SLOPE = 0.3


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A release as far as it has been read backwards.

    Attributes:
        values: (B, *cut shape), what the values were before the defenses that have been read, plus noise.
        shown: (B, *cut shape), whether a value shows at all.
        deviation: standard deviation of the noise: of all values, (B, 1, ...) of each record's, (B, C, 1, ...) of each
            channel's or (B, C, H, W) of each value's; 0 if there is none, None if it is normal with a deviation of each
            record that is not known.
        shape: of the noise.
        left_out: probability of a value to have been replaced by 0 before noise came to it, so that it does not show
            which.
        bound: (B, 1, ...) the greatest magnitude that a value that does not show may have, with its noise; None if any.
        clip: Euclidean norm that a record's activations were scaled down to, if theirs was greater; None if unbounded.
            Noise from before that is taken for noise after it.
        clips_places: whether it is the norm of each place of a text (B, T, C) instead.
        groups: (B,) numbers: what shows of a record is the mean over all records of its number; None if of itself.
        known: what is known of the client's memory beside the settings, by name; see `ClientRound`.
        tier: client modules m; 0 if not known.
    """

    values: Tensor
    shown: Tensor
    deviation: Tensor | float | None = 0.0
    shape: NoiseShape = "normal"
    left_out: float = 0.0
    bound: Tensor | None = None
    clip: float | None = None
    clips_places: bool = False
    groups: Tensor | None = None
    known: State = field(default_factory=dict)
    tier: int = 0

    @classmethod
    def of(cls, received: Tensor, known: State | None = None, tier: int = 0) -> "Reading":
        """Return the reading of a release (B, *cut shape) as it arrives, and of what else is known."""
        values = received.to(torch.promote_types(received.dtype, torch.float32))  # sums in bfloat16 would be too coarse
        return cls(values=values, shown=torch.ones_like(values, dtype=torch.bool), known=known or {}, tier=tier)

    def noisier(self, deviation: Tensor | float, shape: NoiseShape = "normal") -> "Reading":
        """Return the reading with independent noise before what was read; two noises are taken for a normal one."""
        if self.deviation is None or (not isinstance(deviation, Tensor) and deviation == 0):
            return self
        total = (torch.as_tensor(self.deviation) ** 2 + torch.as_tensor(deviation) ** 2).sqrt().to(self.values)
        return _changed(self, deviation=total, shape="normal" if self.is_noisy else shape)

    def scaled(self, factor: float) -> "Reading":
        """Return the reading of what was multiplied by 1 / factor before what was read."""
        names = ("values", "deviation", "bound", "clip")
        parts = {name: part * factor for name, part in vars(self).items() if name in names and part is not None}
        return _changed(self, **parts)

    @property
    def is_noisy(self) -> bool:
        """Whether noise covers which values were left out."""
        return not (isinstance(self.deviation, float) and self.deviation == 0)

    @property
    def has_known_noise(self) -> bool:
        """Whether all that keeps the release from being exact is normal or Laplace noise of a known deviation."""
        return self.shape != "uniform" and self.deviation is not None and self.is_noisy and self.bound is None

    @property
    def noise_variance(self) -> Tensor:
        """The variance of the noise (B, *cut shape), float64; 0 where it is not known."""
        deviation, like = 0.0 if self.deviation is None else self.deviation, self.values.double()
        return torch.as_tensor(deviation).to(like).square().expand_as(like)

    def __getitem__(self, records: slice) -> "Reading":
        """Return the reading of some of the records."""
        parts = {
            name: part[records]
            for name, part in vars(self).items()
            if isinstance(part, Tensor) and part.ndim and len(part) == len(self.values)
        }
        return _changed(self, **parts)


def _changed(reading: Reading, **changes: object) -> Reading:
    return Reading(**{**vars(reading), **changes})


def log_likelihood(reading: Reading, activations: Tensor) -> Tensor:
    """Return log p(release | activations) of each record (B,), float64, but for a constant that no activations change.

    Args:
        reading: of the release, read to its beginning.
        activations: (B, *cut shape), before all defenses that have been read; differentiable.
    """
    expected = _in_groups(reading, within_clip(reading, activations)).double()
    difference, shown = reading.values.double() - expected, reading.shown
    if reading.deviation is None:  # the likeliest deviation of each record
        count = shown.flatten(1).sum(dim=1)
        squares = (difference.square() * shown).flatten(1).sum(dim=1)
        return -count / 2 * (squares / count.clamp(min=1)).clamp(min=1e-30).log()
    deviation = _deviation(reading, reading.deviation)
    density = _log_density(difference, deviation, reading.shape)
    if reading.left_out:
        covered = _log_density(reading.values.double(), deviation, reading.shape)
        share = reading.left_out
        density = torch.logaddexp(density + math.log(1 - share), covered + math.log(share))
    total = (density * shown).flatten(1).sum(dim=1)
    if reading.bound is not None:
        within = _log_within(expected, reading.bound.double(), deviation, reading.shape)
        if reading.left_out:  # then it is noise alone that may exceed the bound, whatever the value was
            noise = _log_within(torch.zeros_like(expected), reading.bound.double(), deviation, reading.shape)
            within = torch.logaddexp(within + math.log(1 - reading.left_out), noise + math.log(reading.left_out))
        total = total + (within * ~shown).flatten(1).sum(dim=1)
    return total


def misfit(reading: Reading, activations: Tensor) -> Tensor:
    """Return how badly activations explain a release, one number per record (B,): what a search minimises.

    -2 s^2 log p(release | activations) / |z|^2 but for a constant, s the noise's deviation, z what shows: of normal
    noise, or of none, the relative residual |a - z|^2 / |z|^2. Of uniform noise, such as that of rounding, what exceeds
    its reach, and a share of the residual (`SLOPE`): its own likelihood is flat where a search still needs a slope.
    """
    size = _size(reading)
    hidden_by_noise = reading.bound is not None and reading.is_noisy
    plain = reading.shape != "laplace" and not reading.left_out and not hidden_by_noise
    if plain or reading.deviation is None:
        expected = _in_groups(reading, within_clip(reading, activations))
        error = (_weighed(reading, expected) * reading.shown).flatten(1).sum(dim=1)
        if reading.bound is not None:
            over = (expected.abs() - reading.bound).clamp(min=0) * ~reading.shown
            error = error + over.square().flatten(1).sum(dim=1)
        return error / size
    scaled: Tensor = -2 * _variance(reading, reading.deviation) * log_likelihood(reading, activations) / size
    return scaled.to(size)


def evidence(reading: Reading) -> Tensor:
    """Return what a unit of `misfit` is worth in -2 log p(release | activations), for each record (B,).

    So that misfits weighed by it add up over several releases of a record as log-likelihoods do. Where a deviation is
    not known, that of one which explains all that shows.
    """
    shown = reading.shown.flatten(1).sum(dim=1).to(reading.values)
    return shown if reading.deviation is None else _size(reading) / _variance(reading, reading.deviation).to(shown)


def _size(reading: Reading) -> Tensor:
    """Return the squared norm of what shows (B,)."""
    return (reading.values * reading.shown).flatten(1).square().sum(dim=1).clamp(min=1e-12)


def _variance(reading: Reading, deviation: Tensor | float) -> Tensor:
    """Return the mean variance of the noise (B,)."""
    return _deviation(reading, deviation).square().flatten(1).mean(dim=1)


def _weighed(reading: Reading, expected: Tensor) -> Tensor:
    """Return squared errors, where channels have noise of their own relative to a record's mean noise."""
    difference = reading.values - expected
    error = difference.square()
    if reading.shape == "uniform" and reading.deviation is not None:
        reach = math.sqrt(3) * torch.as_tensor(reading.deviation).to(error)
        error = (difference.abs() - reach).clamp(min=0).square() + SLOPE * error
    if not isinstance(reading.deviation, Tensor) or reading.deviation.ndim == 0 or reading.deviation[:1].numel() == 1:
        return error
    squared = _deviation(reading, reading.deviation).square()
    mean = squared.mean(dim=tuple(range(1, squared.ndim)), keepdim=True)
    return error * (mean / squared).to(error)


def within_clip(reading: Reading, activations: Tensor) -> Tensor:
    """Return activations scaled down to the norm that they were clipped to, less what was left out of them before."""
    if reading.clip is None:
        return activations
    dims = [-1] if reading.clips_places else list(range(1, activations.ndim))
    norms = torch.linalg.vector_norm(activations, dim=dims, keepdim=True) * math.sqrt(1 - reading.left_out)
    factors: Tensor = reading.clip / norms.clamp(min=reading.clip)
    return activations * factors


def _in_groups(reading: Reading, activations: Tensor) -> Tensor:
    """Return activations (B, *cut shape) as the means of their groups."""
    if reading.groups is None:
        return activations
    same = (reading.groups[:, None] == reading.groups[None, :]).to(activations)
    means: Tensor = torch.tensordot(same / same.sum(dim=1, keepdim=True), activations, dims=1)
    return means


def expected_values(reading: Reading, activations: Tensor) -> Tensor:
    """Return the mean (N, *cut shape), float64, of what a release like this one would show of activations.

    Of each by itself, whatever other records it was put together with.
    """
    return within_clip(reading, activations).double() * (1 - reading.left_out)


def _deviation(reading: Reading, deviation: Tensor | float) -> Tensor:
    """Return the noise's deviation (B, 1 or C, 1, ...), float64: that of rounding at least."""
    precision = _precision(reading)
    return torch.maximum(torch.as_tensor(deviation).to(precision), precision)


def _precision(reading: Reading) -> Tensor:
    """Return the deviation of rounding (B, 1, ...) of what shows."""
    shown = (reading.values.double() * reading.shown).flatten(1)
    mean_square = shown.square().sum(dim=1) / reading.shown.flatten(1).sum(dim=1).clamp(min=1)
    return (PRECISION * mean_square.sqrt()).clamp(min=1e-12).reshape(-1, *[1] * (reading.values.ndim - 1))


def _log_density(difference: Tensor, deviation: Tensor, shape: NoiseShape) -> Tensor:
    """Return the log density of noise of mean 0 and this deviation."""
    if shape == "laplace":
        return -math.sqrt(2) * difference.abs() / deviation - (math.sqrt(2) * deviation).log()
    if shape == "uniform":
        reach = math.sqrt(3) * deviation
        return _beyond(difference, reach, deviation) - (2 * reach).log()
    return -(difference / deviation).square() / 2 - (math.sqrt(2 * math.pi) * deviation).log()


def _log_within(values: Tensor, bound: Tensor, deviation: Tensor, shape: NoiseShape) -> Tensor:
    """Return the log probability that values with noise are within a bound; an estimate where noise is not normal."""
    if shape != "normal":
        return _beyond(values, bound, deviation)
    upper, lower = (torch.special.log_ndtr((edge - values.abs()) / deviation) for edge in (bound, -bound))
    inside: Tensor = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-12)))
    return inside


def _beyond(values: Tensor, bound: Tensor, deviation: Tensor) -> Tensor:
    """Return what values of a magnitude beyond a bound cost: as normal ones of this deviation from it."""
    over = (values.abs() - bound).clamp(min=0)
    return -(over / deviation).square() / 2
