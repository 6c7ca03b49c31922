"""A client half of the adversary's own, brought to send what the real one sends, whose weights it does not know."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.program import Parameters
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.inverse_network import as_map
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch
from dtfl_private.randomness import isolated

HALF = "client_half."
# Channels of the network that tells shadow from real.
WIDTH = 64
# Distances, down and across, between positions whose activations are compared.
NEIGHBOURS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
# Auxiliary images per step, at least: moments of fewer are too noisy.
LEAST_BATCH = 128
# Below this much spread a channel's activations count as constant.
LEAST = 1e-4


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """How a shadow is trained.

    Attributes:
        steps: of its training.
        lr: first learning rate of Adam, also of the discriminator.
        statistics: weight of the distance between means and covariances of shadow's and client's activations.
        adversarial: weight of the discriminator.
        adaptive: through the defenses inside the forward pass.
    """

    steps: int
    lr: float
    statistics: float
    adversarial: float
    adaptive: bool


class Received:
    """What the server got, for comparison: activations as maps (N, C, h, w), and labels (N,)."""

    def __init__(self, batches: Sequence[SmashedBatch]) -> None:
        self.smashed = torch.cat([as_map(batch.smashed).float() for batch in batches])
        self.labels = torch.cat([batch.labels for batch in batches])
        self.mean = self.smashed.mean(dim=(0, 2, 3)).view(-1, 1, 1)
        self.scale = 1 / self.smashed.std(dim=(0, 2, 3)).clamp(min=LEAST).view(-1, 1, 1)
        self.classes = int(self.labels.max()) + 1
        self.moments = self._moments(self.smashed)
        self.class_means, self.counts = self._class_means(self.smashed, self.labels)

    def standardised(self, smashed: Tensor) -> Tensor:
        """Return activations by the channels' means and deviations as received."""
        return (smashed - self.mean) * self.scale

    def _moments(self, smashed: Tensor) -> list[Tensor]:
        """Return the covariances of channels (C, C), also between neighbouring positions.

        Neighbours tell a filter's shape, which a channel's spread alone does not.
        """
        values = self.standardised(smashed)
        height, width = values.shape[2:]
        moments = []
        for down, across in NEIGHBOURS:
            if down >= height or abs(across) >= width:
                continue
            left, right = max(0, -across), max(0, across)
            here = values[:, :, : height - down, left : width - right].transpose(0, 1).flatten(1)
            there = values[:, :, down:, right : width - left].transpose(0, 1).flatten(1)
            moments.append(here @ there.T / here.shape[1])
        return moments

    def _class_means(self, smashed: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean maps (classes, C, h, w) by label, and how many records (classes,) they are of."""
        member = F.one_hot(labels, max(self.classes, int(labels.max()) + 1))[:, : self.classes].float()
        counts = member.sum(dim=0)
        sums = torch.einsum("bk,bchw->kchw", member, self.standardised(smashed))
        return sums / counts.clamp(min=1).view(-1, 1, 1, 1), counts

    def distance(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return how far the moments of activations (B, C, h, w) are from those received, the means class by class."""
        pairs = zip(self._moments(smashed), self.moments, strict=True)
        covariances = torch.stack([F.mse_loss(own, other) for own, other in pairs]).mean()
        means, counts = self._class_means(smashed, labels)
        weights = counts * self.counts / (counts + self.counts).clamp(min=1)
        apart = (means - self.class_means).square().flatten(1).mean(dim=1)
        return covariances + (weights * apart).sum() / weights.sum().clamp(min=1)


class Discriminator(nn.Module):
    """From standardised activations (B, C, h, w) and labels to how real they look (B,)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.leave = nn.Linear(WIDTH, 1)
        self.label = nn.Embedding(classes, WIDTH)

    def forward(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return logits (B,); labels enter as by Miyato and Koyama 2018."""
        hidden = self.layers(smashed).mean(dim=(2, 3))
        scores: Tensor = self.leave(hidden).squeeze(1) + (self.label(labels) * hidden).mean(dim=1)
        return scores


def train_shadow(
    view: View, batches: Sequence[SmashedBatch], imitation: Imitation, number: int, start: ModelDownload
) -> ModelDownload:
    """Return the weights of a client half that serves the server's half as the real one does, from a start on.

    Three pulls at once: the server's own half, frozen, must classify what the shadow sends of auxiliary images; the
    moments of its activations must be those received; and a discriminator must not tell the two apart.
    """
    program = view.program_with(start, adaptive=imitation.adaptive, draw=f"shadow/{number}")
    received, server = Received(batches), view.server_half().requires_grad_(requires_grad=False)
    dtype = next(server.parameters()).dtype
    weights = {name: tensor.requires_grad_() for name, tensor in program.parameters().items() if name.startswith(HALF)}
    with isolated(view.seed, "discriminator", view.tier, number):
        discriminator = Discriminator(received.smashed.shape[1], view.classes).to(view.device)
    optimizers = [
        EagerAdam(parameters, lr=imitation.lr, betas=(0.5, 0.99))
        for parameters in (list(weights.values()), list(discriminator.parameters()))
    ]
    data, chance, size = view.auxiliary, view.chance("shadow", number), max(LEAST_BATCH, len(batches[0].labels))
    for step in range(imitation.steps):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = imitation.lr * half_cosine(step, imitation.steps)
        own = torch.randint(len(data.images), (size,), generator=chance)
        other = torch.randint(len(received.labels), (size,), generator=chance).to(view.device)
        labels = data.labels[own].to(view.device)
        raw = program.activations(data.images[own].to(view.device), weights=_half(weights))
        sent, real = received.standardised(as_map(raw)), received.standardised(received.smashed[other])
        loss = F.cross_entropy(server(raw.to(dtype)).float(), labels)
        loss = loss + imitation.statistics * received.distance(as_map(raw), labels)
        loss = loss + imitation.adversarial * F.softplus(-discriminator(sent, labels)).mean()
        _step(optimizers[0], loss, list(weights.values()))
        doubt = F.softplus(discriminator(sent.detach(), labels)) + F.softplus(
            -discriminator(real, received.labels[other])
        )
        _step(optimizers[1], doubt.mean(), list(discriminator.parameters()))
        view.progress(step + 1, imitation.steps)
    return _download(start, weights)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: Sequence[Tensor]) -> None:
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimizer.step()


def _half(weights: Parameters) -> dict[str, Tensor]:
    return {name.removeprefix(HALF): tensor for name, tensor in weights.items()}


def _download(start: ModelDownload, weights: Parameters) -> ModelDownload:
    trained = {name: tensor.detach().cpu() for name, tensor in _half(weights).items()}
    return replace(start, weights={**start.weights, **trained})
