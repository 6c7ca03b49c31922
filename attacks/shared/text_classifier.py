"""A classifier from smashed data of texts, and optionally the labels sent with them, to a property of the texts."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacks.shared.property_classifier import Examples, log_probabilities
from dtfl_private.leakage.classifier import Classifier, fitted
from dtfl_private.models.padding import real_places

# Width of the network.
HIDDEN = 64
# Less than any value behind a GELU.
BELOW = -1.0


class TextClassifier:
    """A network that looks at each place by itself and pools over those that are real, by their mean and maximum.

    So a property of one token, wherever it stands, is as easy as one of all. Trained on auxiliary releases and stopped
    early on others.

    Args:
        train: examples to learn from; activations (N, T, C).
        validation: examples to stop by.
        values: number of values that the property has.
        classes: number of classes, if the labels sent are to be used; 0 to leave them out.
        seed: of the training.
        device: where to compute.
    """

    def __init__(
        self, train: Examples, validation: Examples, *, values: int, classes: int = 0, seed: int, device: str
    ) -> None:
        rows = train.smashed[real_places(train.smashed)]
        rows = rows if len(rows) > 1 else train.smashed.flatten(0, 1)  # all are empty
        self._mean, self._scale = rows.mean(dim=0), 1 / rows.std(dim=0).clamp(min=1e-6)
        self._classes = classes
        features = self._features(train.smashed, train.sent_labels)
        self._classifier: Classifier = fitted(
            lambda: _Network(features.shape[2], values),
            (features, train.values.cpu()),
            (self._features(validation.smashed, validation.sent_labels), validation.values.cpu()),
            seed=seed,
            device=device,
        )

    def _features(self, smashed: Tensor, sent_labels: Tensor) -> Tensor:
        """Return standardised activations, the label, and whether a place is real, (N, T, C + classes + 1)."""
        real = real_places(smashed)[..., None].to(smashed)
        parts = [(smashed - self._mean) * self._scale]
        if self._classes:
            label = F.one_hot(sent_labels.to(smashed.device), self._classes).to(smashed)
            parts.append(label[:, None].expand(-1, smashed.shape[1], -1))
        return torch.cat([torch.cat(parts, dim=2) * real, real], dim=2)

    @torch.no_grad()
    def log_probabilities(self, smashed: Tensor, sent_labels: Tensor) -> Tensor:
        """Return the logarithm of each value's probability (N, values), float64 on the CPU."""
        return log_probabilities(self._classifier, self._features(smashed, sent_labels))


class _Network(nn.Module):
    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.places = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU())
        self.whole = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, values))

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Return logits (B, values)."""
        real = features_BTF[..., -1:]
        hidden = self.places(features_BTF) * real
        mean = hidden.sum(dim=1) / real.sum(dim=1).clamp(min=1)
        most = hidden.masked_fill(real == 0, BELOW).amax(dim=1)
        logits: Tensor = self.whole(torch.cat([mean, most], dim=1))
        return logits
