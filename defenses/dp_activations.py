"""Clipped activations with Gaussian noise: differential privacy of the smashed data, given the client weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dtfl_private.defenses.shared.clipping import clipped
from dtfl_private.defenses.shared.noise_dial import NoiseDial, Positive
from dtfl_private.errors import InputError
from dtfl_private.privacy.calibrate import noise_for_releases
from dtfl_private.protection.base import DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, KnownNoise, RoundRelease, RunFacts
from dtfl_private.protection.draws import normal, plus_noise
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.guarantees import GaussianRelease, Guarantee
from dtfl_private.protocol.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class DpActivations(NoiseDial):
    """Clip each record's activations and add Gaussian noise: (epsilon, delta) per record for smashed data, or a dial.

    Every record is sent once per round, after training; the server knows which is which, so that all releases count in
    full. At 16x32x32 values a single-digit epsilon leaves the server half nothing to learn from: use it as a dial, and
    read off the epsilon. In a simulation the noise comes from the run's seeded generator, which is not
    cryptographically secure; in a deployment from the client's operating system.

    Args:
        epsilon, noise_multiplier, delta: see `NoiseDial`; a target epsilon is for one release in every round.
        clip: bound on the Euclidean norm of a record's activations; the square root of half their number if not given,
            which is the norm of standard normal values after a ReLU, and a constant known to everybody.
    """

    clip: Positive | None = None

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, given the client-side weights",
        acts_on=("smashed",),
        guarantee="(epsilon, delta) per record replaced, for smashed data only",
        cost="a second forward pass; the server starts after training; accuracy, unless epsilon is in the hundreds",
        attacker="the noise (seeded in a simulation: not cryptographically secure then)",
        releases_apart=True,
        nonexpansive=True,
        group_norm=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip is not None and not 0 < self.clip < float("inf"):
            raise InputError(f"clip={self.clip} is refused: it must be positive and finite")

    def calibrated(self, run: RunFacts) -> "DpActivations":
        """Return the defense with the noise that keeps one release per round within the target epsilon."""
        self.require_small_delta(run)
        if not self.needs_calibration:
            return self
        return replace(self, noise_multiplier=noise_for_releases(self.target, run.rounds))

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the message with clipped and noisy activations, in the type they came in."""
        # Rounding to the wire's type comes last: what is done to a noisy value costs no privacy.
        values = message.smashed.to(torch.promote_types(message.smashed.dtype, torch.float32))
        clip = self._clip_of(values[0].numel())
        noise = normal(values.shape, at.chance, values.dtype)
        noisy = plus_noise(clipped(values, clip), noise, self.noise * clip)
        return replace(message, smashed=noisy.to(message.smashed.dtype))

    def read(self, reading: Reading) -> Reading:
        """Return the clipped values before the noise."""
        clip = self._clip_of(reading.values[0].numel())
        return replace(reading.noisier(self.noise * clip), clip=clip)

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the noise, after clipping, which is a projection."""
        return KnownNoise(std=self.noise * self._clip_of(cut.cut_values), contracted=True)

    def _clip_of(self, cut_values: int) -> float:
        return math.sqrt(cut_values / 2) if self.clip is None else self.clip

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the releases of each record."""
        if not released.batches:
            return ()
        return (GaussianRelease(noise_multiplier=self.noise, releases=released.epochs, target=self.target),)
