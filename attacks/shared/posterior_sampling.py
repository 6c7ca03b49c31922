"""The mean of the images that explain a noisy release, by Langevin dynamics with the noise's own likelihood.

Under noise a search returns one likeliest image; the mean over all that are likely has less squared error. A chain
walks among these: images are as likely before as `ClassPrior` says, and explain the release as `log_likelihood` says,
through the client's network itself. Steps are taken in coordinates in which what is left to know is about as wide in
all directions: by the likelihood's curvature at auxiliary images, of which the truth is known (its Fisher information).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.class_prior import ClassPrior
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser, batch_size
from dtfl_private.protection.release_reading import Reading, log_likelihood
from dtfl_private.protocol.messages import Seen

# Length of a step, and how fast a chain forgets its speed; coordinates are about standard normal.
STEP, FRICTION = 0.35, 0.7
# Share of the steps that a chain takes to come among the likely images: they do not count.
ARRIVING = 0.15
# Steps for each of a search's: a mean is of as many images as a chain passes. At tier 4 of a run under
# `laplace-noise:sd=2` (digits, 32 validation images) 100 steps reached 22.3 dB, 400 steps 23.9.
STEPS_OF_A_SEARCH = 4
# Gradients to learn the curvature from, for each direction, and releases of all auxiliary images at most.
GRADIENTS, MOST_RELEASES = 2, 8


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws likely images of clients' releases at one tier, and averages them.

    Attributes:
        prior: what images are like.
        along: (labels, K, K), from a chain's coordinates to values along the prior's directions.
        values: (labels, K, K), from them to values that are standard normal by the prior.
    """

    prior: ClassPrior
    along: Tensor
    values: Tensor

    @classmethod
    def of(cls, view: View, seen: Seen, *, adaptive: bool) -> "Sampler":
        """Return a sampler for releases of clients that began as this one did."""
        prior = ClassPrior.of(view, seen, adaptive=adaptive)
        information = _information(view, seen, prior.directions, adaptive)
        own = torch.eye(len(information), dtype=information.dtype, device=information.device)
        precision = own + prior.roots.mT @ information @ prior.roots
        values = torch.linalg.inv(torch.linalg.cholesky(precision)).mT
        return cls(prior=prior, along=prior.roots @ values, values=values)

    def average(
        self,
        program: ClientProgram,
        smashed: Tensor,
        labels: Tensor,
        start: Tensor,
        steps: int,
        chance: torch.Generator,
        tick: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Return the mean (B, C, H, W) of likely images of a batch.

        An underdamped Langevin chain for each record, all of a batch at once, as batch norm couples them: half a step
        of speed, half a step of place, friction with new chance, and a half of each again (BAOAB; Leimkuhler and
        Matthews 2013).

        Args:
            program: of the client, `sending` the batch.
            smashed: as seen (B, *cut shape).
            labels: as seen (B,).
            start: images (B, C, H, W) where chains begin.
            steps: of the chains.
            chance: on the CPU.
            tick: called after each step.
        """
        reading, sent = program.read(smashed), labels.to(start.device)
        means, directions = self.prior.means[sent], self.prior.directions
        along, values = self.along[sent].float(), self.values[sent].float()

        def images_at(place: Tensor) -> Tensor:
            apart = torch.einsum("bij,bj->bi", along, place) @ directions.T
            return (means + apart).clamp(0, 1).view_as(start)

        def slope(place: Tensor) -> tuple[Tensor, Tensor]:
            place = place.detach().requires_grad_()
            images = images_at(place)
            unlikely = torch.einsum("bij,bj->bi", values, place).square().sum() / 2
            energy = unlikely - log_likelihood(reading, program.expected(images)).sum()
            return torch.autograd.grad(energy, place)[0], images.detach()

        def drawn() -> Tensor:
            return torch.randn(place.shape, generator=chance).to(place)

        begin = (start.flatten(1) - means) @ directions
        place = torch.linalg.solve(self.along[sent], begin.double()).float()
        kept = math.exp(-FRICTION * STEP)
        speed, (force, images) = drawn(), slope(place)
        total, counted = torch.zeros_like(images), 0
        for step in range(steps):
            speed = speed - STEP / 2 * force
            place = place + STEP / 2 * speed
            speed = kept * speed + math.sqrt(1 - kept**2) * drawn()
            place = place + STEP / 2 * speed
            force, images = slope(place)
            speed = speed - STEP / 2 * force
            if step >= int(ARRIVING * steps):
                total, counted = total + images, counted + 1
            tick()
        return total / counted


def chain_steps(steps: int) -> int:
    """Return the steps of a chain where searches have so many."""
    return STEPS_OF_A_SEARCH * steps


def has_many_likely_images(reading: Reading) -> bool:
    """Whether noise leaves many images likely; that of rounding has walls, which no chain like this one can follow."""
    return reading.is_noisy and reading.shape != "uniform"


def _information(view: View, seen: Seen, directions: Tensor, adaptive: bool) -> Tensor:
    """Return the Fisher information (K, K), float64, of a release about its image, along directions (D, K)."""
    program, releaser = view.program(seen, adaptive=adaptive), Releaser(view, [seen], adaptive)
    own, size, count = view.auxiliary, batch_size([seen]), directions.shape[1]
    total, gradients = torch.zeros(count, count, dtype=torch.float64, device=directions.device), 0
    for turn in range(MOST_RELEASES):
        released = releaser.release(own.images, own.labels, "information", turn)
        for parts in zip(*(torch.split(part, size) for part in released), strict=True):
            slopes = (_slopes(program, ReleasedImages(*parts)) @ directions).double()
            total, gradients = total + slopes.T @ slopes, gradients + len(slopes)
        if gradients >= GRADIENTS * count:
            break
    return total / gradients


def _slopes(program: ClientProgram, sent: ReleasedImages) -> Tensor:
    """Return the gradients (B, D) of the log-likelihoods of releases, at the images that they are of."""
    images = sent.images.clone().requires_grad_()
    sender = sent.sent_by(program)
    likelihood = log_likelihood(sender.read(sent.smashed), sender.expected(images)).sum()
    return torch.autograd.grad(likelihood, images)[0].flatten(1)
