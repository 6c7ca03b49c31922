"""Clipped activations with Gaussian noise: differential privacy of the smashed data, given the client weights.

Per record, or per place of a text. What n places that are each clipped to C may move together is 2 C sqrt(n), so that
replacing a text of T places costs as T times as many releases as replacing what one place is computed from. That is a
single token only in tiers where each place is computed from its own token alone, as behind an embedding; deeper, a
token may move all places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

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
    """Clip activations and add Gaussian noise: (epsilon, delta) per record, or token, for smashed data; or a dial.

    Every record is sent once per round, after training; the server knows which is which, so that all releases count in
    full. At 16x32x32 values a single-digit epsilon leaves the server half nothing to learn from: use it as a dial, and
    read off the epsilon. In a simulation the noise comes from the run's seeded generator, which is not
    cryptographically secure; in a deployment from the client's operating system.

    Noise on what a network makes of a text is the idea of DP-Forward (Du et al. 2023, 2309.06746), which bounds a whole
    sequence, adds matrix-valued noise, analytically calibrated, and protects the sequence; here the noise is the same
    on all values, each place has a clip of its own, and what is claimed of tokens holds only where they have not met.

    Args:
        epsilon, noise_multiplier, delta: see `NoiseDial`; a target epsilon is for one release in every round, of the
            unit: with ``unit=token`` for one token of a text replaced by another.
        clip: bound on the Euclidean norm of a record's activations, or of a place's; the square root of half their
            number if not given, which is the norm of standard normal values after a ReLU, and a constant known to
            everybody.
        unit: record: a record is clipped as a whole. token: each place of a text is clipped by itself; epsilon is per
            token, and in tiers where places have met a token counts as the whole text.
    """

    clip: Positive | None = None
    unit: Literal["record", "token"] = "record"

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, given the client-side weights",
        acts_on=("smashed",),
        guarantee="(epsilon, delta) per record replaced, or token of a text (unit=token), for smashed data only",
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

    @property
    def per_token(self) -> bool:
        """Whether places are clipped by themselves."""
        return self.unit == "token"

    def calibrated(self, run: RunFacts) -> "DpActivations":
        """Return the defense with the noise that keeps one release per round within the target epsilon.

        That is enough in every tier in which the defense may act.
        """
        self.require_records(run)
        places = run.places if self.per_token else None
        if not self.needs_calibration:
            return self
        met = places is not None and not all(map(places.apart, run.tiers or (places.apart_tiers + 1,)))
        changed = places.most if places is not None and met else 1
        return replace(self, noise_multiplier=noise_for_releases(self.target, run.rounds, changed))

    def require_records(self, run: RunFacts) -> None:
        """Refuse a delta that means nothing for a client with so many records, or tokens."""
        places = run.places if self.per_token else None
        self.require_small_delta(run, 1 if places is None else places.most)

    def check(self, cut: Cut) -> None:
        """Refuse activations without places of tokens where these are to be clipped by themselves."""
        of_texts = len(cut.input_shape) == 1 and len(cut.cut_shape) == 2 and cut.cut_shape[0] == cut.input_shape[0]
        if self.per_token and not of_texts:
            raise InputError(
                f"dp-activations:unit=token clips the places of texts, which activations of shape {cut.cut_shape} of "
                f"inputs of shape {cut.input_shape} do not have: use unit=record"
            )

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the message with clipped and noisy activations, in the type they came in."""
        # Rounding to the wire's type comes last: what is done to a noisy value costs no privacy.
        values = message.smashed.to(torch.promote_types(message.smashed.dtype, torch.float32))
        clip = self._clip_of(values.shape[1:])
        noise = normal(values.shape, at.chance, values.dtype)
        bounded = clipped(values.flatten(0, 1), clip).view_as(values) if self.per_token else clipped(values, clip)
        return replace(message, smashed=plus_noise(bounded, noise, self.noise * clip).to(message.smashed.dtype))

    def read(self, reading: Reading) -> Reading:
        """Return the clipped values before the noise."""
        clip = self._clip_of(reading.values.shape[1:])
        return replace(reading.noisier(self.noise * clip), clip=clip, clips_places=self.per_token)

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the noise, after clipping, which is a projection."""
        return KnownNoise(std=self.noise * self._clip_of(cut.cut_shape), contracted=True)

    def _clip_of(self, cut_shape: Sequence[int]) -> float:
        bounded = cut_shape[-1] if self.per_token else math.prod(cut_shape)
        return math.sqrt(bounded / 2) if self.clip is None else self.clip

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the releases of each record; of texts of which nobody says how long they are, none."""
        if not released.batches or (self.per_token and released.places is None):
            return ()
        stated = GaussianRelease(noise_multiplier=self.noise, releases=released.epochs, target=self.target)
        return (replace(stated, places=released.places, apart=released.apart) if self.per_token else stated,)
