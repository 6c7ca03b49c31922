"""What images look like as a rule: a normal distribution, from auxiliary images of the same classes if there are any.

A search in coordinates in which that distribution is the standard normal one takes steps along what images differ in.
It is the simplest of the priors over images by which gradients are inverted; generative networks are another (Jeon et
al. 2021, NeurIPS, "Gradient inversion with generative image prior").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.view import View

# Variance of what no auxiliary image shows: of a pixel, in squares of 0..1.
RIDGE = 0.01


@dataclass(frozen=True, kw_only=True)
class ImagePrior:
    """Images of a class are its mean, plus the square root of one covariance times standard normal values.

    Attributes:
        means: of each class (classes, C, H, W).
        directions: (D, K) orthonormal, along which images differ; D = C H W pixels.
        extra: (K,) deviation along each, above that of all others.
        ridge: deviation along all others.
        informed: whether it is of auxiliary images; otherwise values are pixels, from grey on.
    """

    means: Tensor
    directions: Tensor
    extra: Tensor
    ridge: float
    informed: bool

    @classmethod
    def of(cls, view: View, device: str) -> "ImagePrior":
        """Return the prior of an adversary's auxiliary images, or without any that of pixels around grey."""
        if not view.has("auxiliary-data"):
            pixels = torch.Size(view.input_shape).numel()
            grey = torch.full((view.classes, *view.input_shape), 0.5, device=device)
            nothing = torch.zeros(pixels, 0, device=device)
            return cls(means=grey, directions=nothing, extra=nothing[0], ridge=1.0, informed=False)
        images, labels = view.auxiliary.images.to(device), view.auxiliary.labels.to(device)
        means = images.mean(dim=0).repeat(view.classes, *[1] * (images.ndim - 1))
        for label in torch.unique(labels).tolist():
            means[label] = images[labels == label].mean(dim=0)
        apart = (images - means[labels]).flatten(1)
        _, lengths, directions = torch.linalg.svd(apart, full_matrices=False)
        variances = lengths.square() / len(images)
        extra = (variances + RIDGE).sqrt() - RIDGE**0.5
        return cls(means=means, directions=directions.T, extra=extra, ridge=RIDGE**0.5, informed=True)

    def images(self, values: Tensor, labels: Sequence[int]) -> Tensor:
        """Return the images (N, C, H, W) at standard normal values (N, D), of classes (N,); not limited to [0, 1]."""
        along = values @ self.directions
        apart = self.ridge * values + (along * self.extra) @ self.directions.T
        means = self.means[list(labels)]
        return means + apart.view_as(means)
