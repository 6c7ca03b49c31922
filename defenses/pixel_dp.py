"""Noise on clipped images before anything is computed from them: differential privacy of all that follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.defenses.shared.clipping import clipped
from dtfl_private.defenses.shared.noise_dial import NoiseDial, Positive
from dtfl_private.defenses.shared.precision import working
from dtfl_private.errors import InputError
from dtfl_private.privacy.calibrate import noise_for_releases
from dtfl_private.protection.base import DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RoundRelease, RunFacts
from dtfl_private.protection.draws import normal, plus_noise
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.guarantees import Guarantee, NoisyInputs


@dataclass(frozen=True, kw_only=True)
class PixelDp(NoiseDial):
    """Clip each image and add Gaussian noise before the first module: (epsilon, delta) per image for all that follows.

    The noise layer of PixelDP (Lecuyer et al. 2019, 1802.03471, section 3) at the input. There it hides changes of an
    image up to a small norm, so that a prediction is robust; here each image is clipped to a norm and may be replaced
    by any other, so that the image itself is hidden. Smashed data of every tier, and the weights that a client trains,
    are computed from noisy images and labels alone: post-processing, whatever the network, batch norm included. The
    labels are not covered. In a simulation the noise comes from the run's seeded generator, which is not
    cryptographically secure; in a deployment from the client's operating system or, repeated, from its own secret.

    Args:
        epsilon, noise_multiplier, delta: see `NoiseDial`.
        clip: bound on the Euclidean norm of an image in the network's normalised units; the square root of the number
            of its values if not given, a constant known to everybody, which scaling to [-1, 1] never exceeds.
        fixed: whether an image's noise is drawn once and repeated in every epoch and round, which costs the epsilon of
            a single release; images may not be altered at random then. Otherwise it is drawn anew each time: releases
            add up, and their average shows the image.
    """

    clip: Positive | None = None
    fixed: bool = True

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="images, in smashed data of every tier and in weights",
        acts_on=("input",),
        guarantee="(epsilon, delta) per image replaced, its label kept, for all that is computed from the images",
        cost="a draw per pixel; accuracy, unless epsilon is in the thousands",
        attacker="the noise (seeded in a simulation: not cryptographically secure then)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip is not None and not 0 < self.clip < float("inf"):
            raise InputError(f"clip={self.clip} is refused: it must be positive and finite")

    def calibrated(self, run: RunFacts) -> "PixelDp":
        """Return the defense with the noise that keeps all planned releases within the target epsilon.

        Raises:
            InputError: fixed noise on images that are altered at random: two versions of an image with the same noise
                have a difference without noise.
        """
        if self.fixed and run.augmented:
            raise InputError(
                "pixel-dp repeats the noise of an image, and the difference of two altered versions of it would show "
                "without noise: leave out --augment, or use pixel-dp:fixed=false"
            )
        self.require_small_delta(run)
        if not self.needs_calibration:
            return self
        releases = 1 if self.fixed else run.rounds * run.local_epochs
        return replace(self, noise_multiplier=noise_for_releases(self.target, releases))

    def check(self, cut: Cut) -> None:
        """Refuse tokens: noise on their numbers means nothing."""
        if len(cut.input_shape) == 1:
            raise InputError("pixel-dp adds noise to images, not to tokens: leave it out, or use dp-activations")

    def protect_inputs(self, inputs: Tensor, at: ClientRound) -> Tensor:
        """Return the images (B, C, H, W) clipped and with noise, in the type they came in."""
        values = working(inputs)
        clip = math.sqrt(values[0].numel()) if self.clip is None else self.clip
        noisy = plus_noise(clipped(values, clip), self._drawn(values, at), self.noise * clip)
        return noisy.to(inputs.dtype)

    def _drawn(self, like: Tensor, at: ClientRound) -> Tensor:
        """Return standard normal noise: each record's own, or fresh."""
        if not self.fixed:
            return normal(like.shape, at.chance, like.dtype)
        if at.batch_records is None:
            raise ValueError("pixel-dp needs at.batch_records")
        # Of a record's own stream, always in float32: memory without a state, the same in every precision.
        drawn = [normal(like.shape[1:], at.lasting("pixels", record)) for record in at.batch_records.tolist()]
        return torch.stack(drawn)

    def read(self, reading: Reading) -> Reading:
        """Return the values as the undisturbed image would have them, but for noise of a deviation that is not known.

        The network carries the noise to the cut, where it is normal to first order.
        """
        return replace(reading, deviation=None, shape="normal")

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the one draw, or the draws of the round: the weights depend on each, whether it was sent or not."""
        if not (released.batches or released.update):
            return ()
        releases = 1 if self.fixed else released.epochs
        return (NoisyInputs(noise_multiplier=self.noise, releases=releases, repeated=self.fixed, target=self.target),)

    def extra_macs(self, cut: Cut) -> int:
        """Return the work of clipping and adding: three per pixel."""
        return 3 * cut.input_values
