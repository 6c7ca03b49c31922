"""An independent classifier: do reconstructions still show what is in the image?

It learns from auxiliary images only and has no part in any attack. Its accuracy on true images is the ceiling of what
it can say of reconstructions, and is reported with it.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.randomness import isolated, torch_stream

EPOCHS = 30
PATIENCE = 4
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
# Images at a time where no gradient is kept.
CHUNK = 500


class SmallNetwork(nn.Module):
    """Two convolutions with pooling and two linear layers, for images of 4x4 pixels or more."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classes = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(32 * (height // 4) * (width // 4), 128), nn.ReLU(), nn.Linear(128, classes)
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.classes(self.features(images_BCHW - 0.5))
        return logits


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained classifier.

    Attributes:
        network: in evaluation mode.
        validation_accuracy: on the auxiliary images that it was stopped by.
    """

    network: nn.Module
    validation_accuracy: float

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return the class numbers (N,), int64 on the CPU, of images (N, C, H, W) within 0..1."""
        device = next(self.network.parameters()).device
        parts = [self.network(part.to(device=device, dtype=torch.float32)) for part in torch.split(images, CHUNK)]
        return torch.cat(parts).argmax(dim=1).cpu()

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of images (N, C, H, W) put in the right class (N,): of clean victims, the ceiling."""
        return float((self.predict(images) == labels.cpu()).double().mean())


def train_classifier(
    images: Tensor,
    labels: Tensor,
    validation_images: Tensor,
    validation_labels: Tensor,
    *,
    classes: int,
    seed: int,
    device: str = "cpu",
) -> Classifier:
    """Return a classifier trained on auxiliary images, stopped when it gets no better on auxiliary validation images.

    It keeps the weights of its best epoch. The same arguments give the same classifier.

    Args:
        images: (N, C, H, W) within 0..1, sides of 4 or more.
        labels: (N,) class numbers.
        validation_images: other auxiliary images, for stopping.
        validation_labels: of these.
        classes: number of classes.
        seed: of weights, order and dropout.
        device: where to compute.
    """
    channels, height, width = images.shape[1:]
    return fitted(
        lambda: SmallNetwork(channels, height, width, classes),
        (images, labels),
        (validation_images, validation_labels),
        seed=seed,
        device=device,
    )


def fitted(
    build: Callable[[], nn.Module],
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    seed: int,
    device: str = "cpu",
) -> Classifier:
    """Return a network that is trained, and stopped, as `train_classifier` says.

    Args:
        build: draws its weights from torch's global generator.
        train: inputs (N, ...) and class numbers (N,).
        validation: others, for stopping.
        seed: of weights, order and dropout.
        device: where to compute.
    """
    (images, labels), (validation_images, validation_labels) = train, validation
    with isolated(seed, "independent classifier"):
        network = build().to(device)
        order = torch_stream(seed, "independent classifier", "order")
        optimizer = EagerAdam(network.parameters(), lr=LEARNING_RATE)
        best, best_loss, waited = network, float("inf"), 0
        for _ in range(EPOCHS):
            _train_epoch(network, optimizer, _batches(images, labels, order, device))
            loss = _loss(network, validation_images, validation_labels, device)
            waited = 0 if loss < best_loss else waited + 1
            if waited == 0:
                best, best_loss = copy.deepcopy(network), loss
            if waited == PATIENCE:
                break
    found = Classifier(network=best.eval(), validation_accuracy=0.0)
    return Classifier(network=best, validation_accuracy=found.accuracy(validation_images, validation_labels))


def _batches(images: Tensor, labels: Tensor, order: torch.Generator, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in torch.split(torch.randperm(len(labels), generator=order), BATCH_SIZE):
        yield images[chosen].to(device=device, dtype=torch.float32), labels[chosen].to(device)


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]]
) -> None:
    network.train()
    for images, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        optimizer.step()


@torch.no_grad()
def _loss(network: nn.Module, images: Tensor, labels: Tensor, device: str) -> float:
    network.eval()
    parts = zip(torch.split(images, CHUNK), torch.split(labels, CHUNK), strict=True)
    losses = [
        F.cross_entropy(network(part.to(device=device, dtype=torch.float32)), own.to(device), reduction="sum")
        for part, own in parts
    ]
    return float(torch.stack(losses).sum()) / len(labels)
