"""What a release was made from, on average: the mean of many images, each weighed by how likely it makes the release.

No network has to learn to leave noise out: its distribution is known. Where noise is great, that mean has less squared
error than anything a search can find, for a search returns one likeliest image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.variations import varied, varied_share
from dtfl_private.protection.release_reading import Reading, expected_values

# Images to average over, at most: as many as these bytes of activations allow. Fewer than a few hundred are no use.
MOST_IMAGES, MOST_BYTES, FEWEST_IMAGES = 6000, 2**28, 300
# Activations at a time.
CHUNK = 64
# Few images stand for all: as if there were so many times more noise. The best is chosen on validation images.
TEMPERATURES = (1.0, 1.5, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class PosteriorMean:
    """Images and what releases of them show, but for the noise.

    Attributes:
        program: of a client; reads its releases.
        images: (N, C, H, W), on the program's device.
        shown: (N, *cut shape), the mean of what a release of each shows.
        tells: (N, classes), log of the probability of each label that is sent.
        temperature: by which the noise's variance is taken to be greater.
    """

    program: ClientProgram
    images: Tensor
    shown: Tensor
    tells: Tensor
    temperature: float = 1.0

    def decode(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return images (B, C, H, W) of activations (B, *cut shape) and the labels (B,) as sent."""
        parts = zip(torch.split(smashed, CHUNK), torch.split(labels, CHUNK), strict=True)
        # Squares that nearly cancel: too much for bfloat16, if whoever calls computes in that.
        with torch.autocast(self.images.device.type, enabled=False):
            return torch.cat([self._decoded(own.to(self.program.device), sent) for own, sent in parts])

    @torch.no_grad()
    def _decoded(self, smashed: Tensor, labels: Tensor) -> Tensor:
        densities = _densities(self.program.read(smashed), self.shown.flatten(1))
        likelihood = densities / self.temperature + self.tells[:, labels.to(self.tells.device)]
        return (likelihood.softmax(dim=0).T.float() @ self.images.flatten(1)).reshape(-1, *self.images.shape[1:])


def _densities(reading: Reading, own: Tensor) -> Tensor:
    """Return log p(release | image) (N, B), but for a constant of each release, of what images would show (N, D)."""
    values, variance = reading.values.flatten(1), reading.noise_variance.flatten(1)
    if reading.shape == "laplace":
        weights = (reading.shown.flatten(1) * (2 / variance).sqrt()).float()
        records = zip(values, weights, strict=True)
        return -torch.stack([(own - value).abs() @ weight for value, weight in records], dim=1).double()
    weights = (reading.shown.flatten(1) / variance).float()
    squares = own.square() @ weights.T - 2 * own @ (values * weights).T
    return -squares.double() / 2


@torch.no_grad()
def bank_of(
    program: ClientProgram,
    reading: Reading,
    images: Tensor,
    labels: Tensor,
    tells: Tensor,
    size: int,
    augmentations: Sequence[str],
    chance: torch.Generator,
) -> PosteriorMean | None:
    """Return variations of auxiliary images to average over; None if there is no room for enough of them.

    Args:
        program: of a client.
        reading: of one of its releases; all are clipped alike.
        images: the adversary's (N, C, H, W), in [0, 1].
        labels: of these (N,).
        tells: (classes, classes), log of the probability of each sent label (column) given the true one.
        size: of a batch, which batch norm goes by.
        augmentations: what clients do to their images, by name.
        chance: of the variations, on the CPU.
    """
    first = program.expected(images[:size].to(program.device))
    count = min(MOST_IMAGES, MOST_BYTES // (4 * first[0].numel())) // size * size
    if count < FEWEST_IMAGES:
        return None
    orders = [torch.randperm(len(images), generator=chance) for _ in range(-(-count // len(images)))]
    drawn = torch.cat(orders)[:count]
    bank = varied(images[drawn], labels[drawn], augmentations, varied_share(len(images)), chance)
    made = [program.expected(batch.to(program.device)) for batch in torch.split(bank, size)]
    shown = torch.cat([expected_values(reading, one).to(one) for one in made])
    own = tells[labels[drawn]].double().to(program.device)
    return PosteriorMean(program=program, images=bank.to(program.device), shown=shown, tells=own)
