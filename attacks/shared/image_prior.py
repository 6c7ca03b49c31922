"""What images look like as a rule: a normal distribution, from auxiliary images of the same classes if there are any.

A search in coordinates in which that distribution is the standard normal one takes steps along what images differ in.
It is the simplest of the priors over images by which gradients are inverted; generative networks are another (Jeon et
al. 2021, NeurIPS, "Gradient inversion with generative image prior").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.variations import varied
from dtfl_private.randomness import torch_stream

# Added to the variances along what auxiliary images differ in, in squares of 0..1: where they are small, a search that
# keeps to them is slow, and an update says more than they do.
RIDGE = 0.01
# The least deviation of a pixel along any direction, about that of rounding to a byte.
LEAST_DEVIATION = 2e-3

# `LikelyImages`: auxiliary images that its directions are of, at most; neighbouring directions whose variances are
# averaged over held-out images; and how far out, in deviations, a search may start.
MOST_IMAGES = 1000
NEIGHBOURS = 17
FARTHEST = 3.0


@dataclass(frozen=True, kw_only=True)
class ImagePrior:
    """Images of a class are its mean, plus the square root of one covariance times standard normal values.

    Beside what auxiliary images differ in, values deviate as much as those of validation images do.

    Attributes:
        means: of each class (classes, C, H, W).
        directions: (D, K) orthonormal, along which images differ; D = C H W pixels.
        extra: (K,) deviation along each, above that of all others.
        rest: deviation along all others.
        informed: whether it is of auxiliary images; otherwise values are pixels, from grey on.
    """

    means: Tensor
    directions: Tensor
    extra: Tensor
    rest: float
    informed: bool

    @classmethod
    def of(cls, view: View, device: str) -> "ImagePrior":
        """Return the prior of an adversary's auxiliary images, or without any that of pixels around grey."""
        if not view.has("auxiliary-data"):
            pixels = torch.Size(view.input_shape).numel()
            grey = torch.full((view.classes, *view.input_shape), 0.5, device=device)
            nothing = torch.zeros(pixels, 0, device=device)
            return cls(means=grey, directions=nothing, extra=nothing[0], rest=1.0, informed=False)
        own, chance = view.auxiliary, view.chance("image prior")
        images, labels = _labelled_as_altered(view, own.images, own.labels, chance, device)
        means = images.mean(dim=0).repeat(view.classes, *[1] * (images.ndim - 1))
        for label in torch.unique(labels).tolist():
            means[label] = images[labels == label].mean(dim=0)
        apart = (images - means[labels]).flatten(1)
        _, lengths, rows = torch.linalg.svd(apart, full_matrices=False)
        variances = lengths.square() / len(images)
        seen = variances > LEAST_DEVIATION**2
        variances, rows = variances[seen], rows[seen]
        held_out, kinds = _labelled_as_altered(view, own.validation_images, own.validation_labels, chance, device)
        rest = float((_beside((held_out - means[kinds]).flatten(1), rows) + LEAST_DEVIATION**2).sqrt())
        extra = (variances + RIDGE).sqrt() - rest
        return cls(means=means, directions=rows.T, extra=extra, rest=rest, informed=True)

    def images(self, values: Tensor, labels: Sequence[int]) -> Tensor:
        """Return the images (N, C, H, W) at standard normal values (N, D), of classes (N,); not limited to [0, 1]."""
        along = values @ self.directions
        apart = self.rest * values + (along * self.extra) @ self.directions.T
        means = self.means[list(labels)]
        return means + apart.view_as(means)


@dataclass(frozen=True, kw_only=True)
class LikelyImages:
    """Images are one mean, plus the square root of a covariance times standard normal values; whatever their class.

    Directions are those of auxiliary images, variances along them and beside them also those of validation images, that
    no direction was fitted to: so a search is neither held in the span of a few images nor let out where no image is.

    Attributes:
        mean: (C, H, W).
        directions: (D, K) orthonormal, along which images differ; D = C H W pixels.
        deviations: (K,) along each.
        rest: deviation along all others.
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor
    rest: float

    @classmethod
    def of(cls, view: View) -> "LikelyImages":
        """Return what an adversary's auxiliary images are like; cached."""
        kept = view.keep("likely images", lambda: _measured(view))
        names = ("mean", "directions", "deviations")
        return cls(**{name: kept[name].to(view.device) for name in names}, rest=float(kept["rest"]))

    def images(self, values: Tensor) -> Tensor:
        """Return the images (N, C, H, W) at standard normal values, not limited to [0, 1]; differentiable.

        Args:
            values: (N, K + D) along the directions, and of all pixels beside them; (N, D) where there is no beside.
        """
        count = len(self.deviations)
        apart = (values[:, :count] * self.deviations) @ self.directions.T
        if values.shape[1] > count:
            apart = apart + self.rest * values[:, count:]
        images: Tensor = self.mean + apart.view(-1, *self.mean.shape)
        return images

    def values(self, images: Tensor) -> Tensor:
        """Return the values of images (N, C, H, W), brought nearer where they are too unlikely."""
        apart = (images - self.mean).flatten(1)
        along = apart @ self.directions
        parts = [along / self.deviations]
        if len(self.deviations) < apart.shape[1]:
            parts.append((apart - along @ self.directions.T) / self.rest)
        return torch.cat(parts, dim=1).clamp(-FARTHEST, FARTHEST)


def _measured(view: View) -> dict[str, Tensor]:
    """Return the parts of `LikelyImages`."""
    own, chance = view.auxiliary, torch_stream(view.seed, "likely images", view.tier)
    images = _as_clients_alter(view, own.images[:MOST_IMAGES], own.labels[:MOST_IMAGES], chance).double()
    held_out = _as_clients_alter(view, own.validation_images, own.validation_labels, chance).double()
    mean = images.mean(dim=0)
    _, lengths, rows = torch.linalg.svd((images - mean).flatten(1), full_matrices=False)
    if len(images) <= rows.shape[1]:  # the last one is of the mean: no direction
        lengths, rows = lengths[:-1], rows[:-1]
    apart = (held_out - mean).flatten(1)
    new = (apart @ rows.T).square()
    side = NEIGHBOURS // 2
    padded = F.pad(new.mean(dim=0)[None, None], (side, side), mode="replicate")
    around = F.avg_pool1d(padded, NEIGHBOURS, stride=1)[0, 0]
    pooled = (lengths.square() + new.sum(dim=0)) / (len(images) + len(held_out))
    variances = torch.maximum(pooled, around / 2)
    least = LEAST_DEVIATION**2
    return {
        "mean": mean.float(),
        "directions": rows.T.float().contiguous(),
        "deviations": (variances + least).sqrt().float(),
        "rest": (_beside(apart, rows) + least).sqrt().float(),
    }


def _beside(apart: Tensor, rows: Tensor) -> Tensor:
    """Return the mean square of differences (N, D) along a direction orthogonal to orthonormal rows (K, D)."""
    left = apart.square().sum(dim=1) - (apart @ rows.T).square().sum(dim=1)
    return left.clamp(min=0).mean() / max(1, rows.shape[1] - len(rows))


def _as_clients_alter(view: View, images: Tensor, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Return images (N, C, H, W), and variations of them too where clients alter theirs."""
    images = images.cpu()
    if not view.augmentations:
        return images
    return torch.cat([images, varied(images, labels.cpu(), view.augmentations, 1.0, chance)])


def _labelled_as_altered(
    view: View, images: Tensor, labels: Tensor, chance: torch.Generator, device: str
) -> tuple[Tensor, Tensor]:
    """Return the same as `_as_clients_alter` on a device, and their labels."""
    altered = _as_clients_alter(view, images, labels, chance)
    return altered.to(device), labels.repeat(len(altered) // len(labels)).to(device)
