"""A yardstick of attribute inference: what a classifier on the images themselves learns of a property.

Who reconstructs an image and measures the property can know more.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.leakage.classifier import train_classifier


def with_label_planes(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return (N, C + classes, H, W): maps (N, C, H, W) and a plane of ones for the label (N,), of zeros for others."""
    planes = F.one_hot(labels.to(images.device), classes).to(images.dtype)
    return torch.cat([images, planes[:, :, None, None].expand(-1, -1, *images.shape[2:])], dim=1)


def raw_pixel_guess(
    images: Tensor,
    labels: Tensor,
    *,
    train: tuple[Tensor, Tensor, Tensor],
    validation: tuple[Tensor, Tensor, Tensor],
    classes: int,
    seed: int,
    device: str = "cpu",
) -> Tensor:
    """Return a property (N,) of images (N, C, H, W) as a classifier guesses that is shown the pixels and the labels.

    Args:
        images: within 0..1.
        labels: of the images, (N,).
        train: auxiliary images, their labels, and their property, int64 from 0.
        validation: others to stop by, likewise.
        classes: number of classes that labels have.
        seed: of the classifier.
        device: where to compute.
    """
    (train_images, train_labels, known), (validation_images, validation_labels, checked) = train, validation
    classifier = train_classifier(
        with_label_planes(train_images, train_labels, classes),
        known,
        with_label_planes(validation_images, validation_labels, classes),
        checked,
        classes=int(torch.cat([known, checked]).max()) + 1,
        seed=seed,
        device=device,
    )
    return classifier.predict(with_label_planes(images, labels, classes))
