"""Search for images whose activations at the cut are those that were seen: what `optimization` and `hybrid` share."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.image_prior import LikelyImages
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.similarity import total_variation
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.protection.release_reading import misfit

Arrange = Callable[[Tensor], Tensor]
"""From activations (B, *cut shape) that a guess has, to those received in the order that comes nearest to them."""

# Weight of the mean square of what lies outside [0, 1], where coordinates are not pixels.
BOX = 1.0

# Steps of a search between two looks at the order of what was received.
ARRANGE_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class Matching:
    """How images are searched for.

    Attributes:
        steps: at most.
        lr: first step of a pixel; falls as a half cosine.
        smoothness: weight of the total variation (mean absolute difference of neighbouring pixels), at first; with
            ``likely`` images, of the mean square of their coordinates, which is how unlikely they are.
        proximity: weight of the mean squared distance to the start, at first.
        fade: power of the learning rate's fall by which those two weights fall too; 0: they stay.
        memory: of Adam for squared gradients, its second beta; None: AMSGrad, which goes by the greatest.
        likely: images in coordinates of which, and not pixel by pixel, steps are taken.
    """

    steps: int
    lr: float
    smoothness: float
    proximity: float = 0.0
    fade: float = 0.0
    memory: float | None = None
    likely: LikelyImages | None = field(default=None, repr=False, compare=False)


def residuals(program: ClientProgram, images: Tensor, smashed: Tensor) -> Tensor:
    """Return how badly each image of a batch explains what was received (B,): what an adversary sees of its success.

    |f(x) - z|^2 / |z|^2 without defenses, and by what each defense lets show otherwise: see `misfit`.
    """
    return misfit(program.read(smashed), program.expected(images))


def match(
    program: ClientProgram,
    smashed: Tensor,
    start: Tensor,
    matching: Matching,
    tick: Callable[[], None] = lambda: None,
    arrange: Arrange | None = None,
) -> Tensor:
    """Return images (B, C, H, W) in [0, 1] near a start whose activations are near those seen (B, *cut shape).

    Adam or AMSGrad over the whole batch at once, as batch norm couples its images; after each step pixels are moved to
    the nearest value in [0, 1]. The sigmoid that is often used instead converges far more slowly where pixels are black
    or white.

    Args:
        program: of the client, `sending` the batch, with what its defenses let show of their draws.
        smashed: as seen.
        start: images (B, C, H, W) in [0, 1].
        matching: how to search.
        tick: called after each step.
        arrange: puts what was received in the order that fits, where a shuffle has drawn it; asked again and again.
    """
    reading = program.read(smashed)

    def misfits(images: Tensor, step: int) -> Tensor:
        nonlocal reading
        expected = program.expected(images)
        if arrange is not None and step % ARRANGE_EVERY == 0:
            with torch.no_grad():
                reading = program.read(arrange(expected.detach()))
        return misfit(reading, expected)

    return descend(misfits, start, matching, tick)


def descend(
    misfits: Callable[[Tensor, int], Tensor],
    start: Tensor,
    matching: Matching,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return images (B, C, H, W) in [0, 1] near a start that explain what was received: see `match`.

    Args:
        misfits: from images, and the number of the step, to how badly each explains it (B,); differentiable.
        start: images (B, C, H, W) in [0, 1].
        matching: how to search.
        tick: called after each step.
    """
    if matching.likely is not None:
        return _descend_along(misfits, start, matching, matching.likely, tick)
    images = start.clone().requires_grad_()
    betas = (0.9, 0.999 if matching.memory is None else matching.memory)
    optimizer = EagerAdam([images], lr=matching.lr, betas=betas, amsgrad=matching.memory is None)
    for step in range(matching.steps):
        left = half_cosine(step, matching.steps)
        optimizer.param_groups[0]["lr"] = matching.lr * left
        prior = matching.smoothness * total_variation(images)
        prior = prior + matching.proximity * (images - start).flatten(1).square().mean(dim=1)
        loss = misfits(images, step) + left**matching.fade * prior
        (images.grad,) = torch.autograd.grad(loss.sum(), images)
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
        tick()
    return images.detach()


def _descend_along(
    misfits: Callable[[Tensor, int], Tensor],
    start: Tensor,
    matching: Matching,
    likely: LikelyImages,
    tick: Callable[[], None],
) -> Tensor:
    """Return images as `descend` does, by steps along what images differ in, towards what they are like as a rule."""
    values = likely.values(start).requires_grad_()
    betas = (0.9, 0.999 if matching.memory is None else matching.memory)
    optimizer = EagerAdam([values], lr=matching.lr, betas=betas, amsgrad=matching.memory is None)
    for step in range(matching.steps):
        left = half_cosine(step, matching.steps)
        optimizer.param_groups[0]["lr"] = matching.lr * left
        unbounded = likely.images(values)
        images = unbounded.clamp(0, 1)
        prior = matching.smoothness * values.square().mean(dim=1)
        prior = prior + matching.proximity * (images - start).flatten(1).square().mean(dim=1)
        outside = (unbounded - images).flatten(1).square().mean(dim=1)
        loss = misfits(images, step) + left**matching.fade * prior + BOX * outside
        (values.grad,) = torch.autograd.grad(loss.sum(), values)
        optimizer.step()
        tick()
    return likely.images(values.detach()).clamp(0, 1)
