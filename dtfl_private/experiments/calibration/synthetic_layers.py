"""The synthetic layers that an engine's figures are fitted on: single layers of each class, none of any network's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dtfl_private.numerics import Numerics
from dtfl_private.randomness import isolated
from dtfl_private.simulation.clients.engines import OperatorClass

BATCH = 8


@dataclass(frozen=True, kw_only=True)
class SyntheticLayer:
    """A layer and the shape of a batch of its inputs."""

    layer: nn.Module
    shape: tuple[int, ...]

    def placed(self, numerics: Numerics) -> tuple[nn.Module, Tensor]:
        """Return the layer and inputs on a device, ready for training."""
        values = torch.randn(self.shape, generator=torch.Generator().manual_seed(0))
        return numerics.place(self.layer).train(), numerics.place_images(values)


class Products(nn.Module):
    """The two products of attention, of a batch of heads."""

    def forward(self, heads_NTC: Tensor) -> Tensor:
        """Return (Q K) V of heads (N, tokens, width), all three the same."""
        weights_NTT = torch.bmm(heads_NTC, heads_NTC.transpose(1, 2))
        return torch.bmm(weights_NTT, heads_NTC)


class Heads(nn.Module):
    """Attention of two heads over tokens of width 4, with its many views and next to nothing to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.given, self.made = nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return the tokens with what they attend to added."""
        batch, tokens, width = tokens_BTC.shape
        split = self.given(tokens_BTC).view(batch, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind()
        attended = (queries @ keys.transpose(-1, -2)).softmax(dim=-1) @ values
        joined: Tensor = self.made(attended.transpose(1, 2).reshape(batch, tokens, width))
        return tokens_BTC + joined


class Residual(nn.Module):
    """A sum and a rectifier, as at the end of a residual block."""

    def forward(self, images: Tensor) -> Tensor:
        """Return max(0, 2 x)."""
        return torch.relu(images + images)


class Transposed(nn.Module):
    """A copy in another order."""

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return the tokens with the last two axes exchanged, in order in memory."""
        return tokens_BTC.transpose(1, 2).contiguous()


class Drawn(nn.Module):
    """What dropout draws."""

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return ones and zeros in the shape of the tokens."""
        return torch.empty_like(tokens_BTC).bernoulli_(0.9)


def _convolutions(
    kernel: int, sizes: Sequence[tuple[int, int, int]], *, depthwise: bool = False
) -> list[SyntheticLayer]:
    """Return convolutions of these (inputs, outputs, side of the image)."""
    return [
        SyntheticLayer(
            layer=nn.Conv2d(given, made, kernel, padding=kernel // 2, groups=given if depthwise else 1, bias=False),
            shape=(BATCH, given, side, side),
        )
        for given, made, side in sizes
    ]


def _on_images(
    make: type[nn.Module], sizes: Sequence[tuple[int, int]], *, by_channels: bool = True
) -> list[SyntheticLayer]:
    """Return layers on images of these (channels, side)."""
    return [
        SyntheticLayer(layer=make(*([channels] if by_channels else [])), shape=(BATCH, channels, side, side))
        for channels, side in sizes
    ]


@isolated(0, "synthetic layers")
def synthetic_layers() -> Mapping[OperatorClass, Sequence[SyntheticLayer]]:
    """Return layers of the sizes that networks for small images and short sequences have, by class."""
    wide, narrow = (BATCH, 50, 80), (BATCH, 50, 320)
    images = [(24, 28), (48, 28), (96, 14), (192, 7), (384, 4)]
    return {
        "conv": _convolutions(
            3, [(24, 24, 28), (40, 40, 14), (80, 80, 14), (80, 160, 7), (160, 160, 7), (320, 320, 4)]
        ),
        "pointwise-conv": _convolutions(
            1, [(24, 96, 28), (96, 24, 28), (40, 160, 14), (160, 40, 14), (80, 320, 7), (320, 80, 7), (160, 960, 4)]
        ),
        "depthwise-conv": _convolutions(
            3, [(c, c, s) for c, s in [(96, 14), (192, 14), (320, 7), (640, 4)]], depthwise=True
        ),
        "linear": [
            SyntheticLayer(layer=nn.Linear(80, 320), shape=wide),
            SyntheticLayer(layer=nn.Linear(320, 80), shape=narrow),
            SyntheticLayer(layer=nn.Linear(80, 240), shape=wide),
            SyntheticLayer(layer=nn.Linear(80, 80), shape=wide),
        ],
        "attention": [
            SyntheticLayer(layer=Products(), shape=(4 * BATCH, 50, 20)),
            SyntheticLayer(layer=Products(), shape=(4 * BATCH, 80, 16)),
        ],
        "normalisation": [
            *_on_images(nn.BatchNorm2d, images),
            SyntheticLayer(layer=nn.LayerNorm(80), shape=wide),
        ],
        "elementwise": [
            *_on_images(Residual, images, by_channels=False),
            *_on_images(nn.ReLU, images, by_channels=False),
        ],
        "transcendental": [
            SyntheticLayer(layer=nn.GELU(), shape=narrow),
            SyntheticLayer(layer=nn.Softmax(dim=-1), shape=(4 * BATCH, 50, 50)),
            SyntheticLayer(layer=nn.SiLU(), shape=narrow),
        ],
        "random": [SyntheticLayer(layer=Drawn(), shape=wide), SyntheticLayer(layer=Drawn(), shape=narrow)],
        "copy": [SyntheticLayer(layer=Transposed(), shape=wide), SyntheticLayer(layer=Transposed(), shape=narrow)],
    }


@isolated(0, "tiny networks")
def tiny_networks() -> Sequence[SyntheticLayer]:
    """Return networks with next to nothing to compute, the time of whose steps is that of launching operators."""
    convolutions = [nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(16)]
    linear = [nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.GELU()) for _ in range(16)]
    attention = [nn.Sequential(nn.LayerNorm(4), Heads()) for _ in range(8)]
    made = [
        *((nn.Sequential(*convolutions[:depth], nn.Flatten(), nn.Linear(16, 4)), (2, 4, 2, 2)) for depth in (1, 4, 16)),
        *((nn.Sequential(nn.Flatten(), *linear[:depth], nn.Linear(4, 4)), (2, 1, 2, 2)) for depth in (1, 4, 16)),
        *((nn.Sequential(*attention[:depth], nn.Flatten(), nn.Linear(16, 4)), (2, 4, 4)) for depth in (1, 3, 8)),
    ]
    return [SyntheticLayer(layer=layer, shape=shape) for layer, shape in made]
