"""A classifier from smashed data, and optionally the labels sent with them, to a property of the images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacks.shared.inverse_network import as_map
from dtfl_private.leakage.ceiling import with_label_planes
from dtfl_private.leakage.classifier import CHUNK, Classifier, train_classifier

# The network pools twice.
SMALLEST_SIDE = 4


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Activations (N, *cut shape), the labels sent with them (N,), and the property (N,), int64 from 0."""

    smashed: Tensor
    sent_labels: Tensor
    values: Tensor


class PropertyClassifier:
    """A convolutional network on standardised activations, trained on auxiliary releases and stopped early on others.

    Args:
        train: examples to learn from.
        validation: examples to stop by.
        values: number of values that the property has.
        classes: number of classes, if the labels sent are to be used; 0 to leave them out.
        seed: of the training.
        device: where to compute.
    """

    def __init__(
        self, train: Examples, validation: Examples, *, values: int, classes: int = 0, seed: int, device: str
    ) -> None:
        maps = as_map(train.smashed)
        self._mean = maps.mean(dim=(0, 2, 3), keepdim=True)
        self._scale = 1 / maps.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-6)
        self._classes = classes
        self._classifier: Classifier = train_classifier(
            self._features(train.smashed, train.sent_labels),
            train.values.cpu(),
            self._features(validation.smashed, validation.sent_labels),
            validation.values.cpu(),
            classes=values,
            seed=seed,
            device=device,
        )

    def _features(self, smashed: Tensor, sent_labels: Tensor) -> Tensor:
        maps = (as_map(smashed) - self._mean) * self._scale
        small = min(maps.shape[2:])
        if small < SMALLEST_SIDE:
            maps = F.interpolate(maps, scale_factor=-(-SMALLEST_SIDE // small))
        return with_label_planes(maps, sent_labels, self._classes) if self._classes else maps

    @torch.no_grad()
    def log_probabilities(self, smashed: Tensor, sent_labels: Tensor) -> Tensor:
        """Return the logarithm of each value's probability (N, values), float64 on the CPU."""
        return log_probabilities(self._classifier, self._features(smashed, sent_labels))


def log_probabilities(classifier: Classifier, features: Tensor) -> Tensor:
    """Return the logarithm of each value's probability (N, values), float64 on the CPU, by features (N, ...)."""
    parts = [classifier.network(part) for part in torch.split(features, CHUNK)]
    return F.log_softmax(torch.cat(parts).double().cpu(), dim=1)
