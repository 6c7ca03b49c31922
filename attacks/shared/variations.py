"""Variations of an adversary's own images: few images are many, as far as what a network is to learn of them goes.

An inverse network trained on a few hundred images learns them by heart. Moved, turned, resized and mixed with others
of their class, they are still images of the same kind, and the client's program makes of each what a client would.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# A variation turns by so many degrees at most, resizes by this factor's logarithm, and moves by this share of a side.
TURN_DEGREES = 10.0
RESIZE = 0.1
MOVE = 1 / 16
# Mixed images get up to half of another image of their class; so many of them are mixed at all.
MIXED_SHARE = 0.5
MOST_OF_ANOTHER = 0.5
# Of few images three quarters are varied at a time; of many fewer, for images as they are resemble victims most, and
# turning blurs their texture: of 4,167 Fashion-MNIST images, decoders that learn from variations alone rebuild less.
MOST_VARIED = 0.75
ENOUGH_IMAGES = 500


def varied_share(images: int) -> float:
    """Return which share is to be varied at a time, of so many images that there are."""
    return min(MOST_VARIED, ENOUGH_IMAGES / images)


def varied(
    images: Tensor, labels: Tensor, augmentations: Sequence[str], share: float, chance: torch.Generator
) -> Tensor:
    """Return images (N, C, H, W) in [0, 1], with labels (N,), of which a share is varied.

    Args:
        images: of the adversary.
        labels: of these; only images of one class are mixed.
        share: probability of each image to be varied.
        augmentations: what clients do to their images, by name: where they flip them, half are flipped here too. A
            flip of another kind of image, such as a digit, would be none of that kind.
        chance: on the CPU.
    """
    changed = _moved(_mixed(images, labels, chance), chance)
    if "flip" in augmentations:
        changed = torch.where(_drawn(len(images), 0.5, chance), changed.flip(-1), changed)
    return torch.where(_drawn(len(images), share, chance), changed, images).clamp(0, 1)


def _mixed(images: Tensor, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Return images of which a part is mixed with another of the same class."""
    partners = torch.arange(len(images))
    for label in set(labels.tolist()):
        own = (labels == label).nonzero().flatten()
        partners[own] = own[torch.randint(len(own), (len(own),), generator=chance)]
    shares = MOST_OF_ANOTHER * torch.rand(len(images), 1, 1, 1, generator=chance)
    return torch.lerp(images, images[partners], shares * _drawn(len(images), MIXED_SHARE, chance))


def _moved(images: Tensor, chance: torch.Generator) -> Tensor:
    """Return images turned, resized and moved, each by amounts of its own; what comes in from outside is the edge."""
    turn, size, down, across = torch.rand(4, len(images), generator=chance) * 2 - 1
    angle, factor = turn * math.radians(TURN_DEGREES), (RESIZE * size).exp()
    # An image is 2 wide in these coordinates.
    rows = [
        torch.stack([factor * angle.cos(), -factor * angle.sin(), 2 * MOVE * across], dim=1),
        torch.stack([factor * angle.sin(), factor * angle.cos(), 2 * MOVE * down], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _drawn(count: int, share: float, chance: torch.Generator) -> Tensor:
    """Return which of so many images are drawn (N, 1, 1, 1), each with this probability."""
    return torch.rand(count, 1, 1, 1, generator=chance) < share
