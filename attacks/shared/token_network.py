"""A Transformer that reads tokens off activations: attention over all places, each token's mean activations as a start.

Logits of a token are the sum of two parts: how near a projection of the activations is to what they are on average
where that token is, from which the network starts as Fisher's linear discriminant and by which it tells tokens apart
that the adversary has hardly ever seen, and a free linear layer.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dtfl_private.attacking.base import Target
from dtfl_private.attacking.view import View
from dtfl_private.errors import InputError

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)
WIDTHS = {"small": 64, "medium": 128, "large": 256}
BLOCKS = {"small": 1, "medium": 2, "large": 4}
HEADS = 4


@dataclass(frozen=True, kw_only=True)
class TokenShapes:
    """What a network reads and returns.

    Attributes:
        length: T, places of a sequence.
        channels: C of the activations (B, T, C).
        tokens: V, kinds of tokens.
        classes: of the labels.
        padding: the number that fills up; None if there is none.
    """

    length: int
    channels: int
    tokens: int
    classes: int
    padding: int | None


def shapes_of(view: View) -> TokenShapes:
    """Return what a network reads of the victims' activations, and returns."""
    length, channels = view.cut_shape
    vocabulary = view.vocabulary
    return TokenShapes(
        length=length,
        channels=channels,
        tokens=vocabulary.size,
        classes=view.classes,
        padding=vocabulary.padding,
    )


def require_rows(target: Target, attack: str) -> None:
    """Refuse activations that are not one row for each place.

    Raises:
        InputError: they are not.
    """
    if len(target.cut_shape) != 2 or target.cut_shape[0] != target.input_shape[0]:
        raise InputError(
            f"{attack} reads places one by one, and activations of shape {target.cut_shape} are not a row for each of "
            f"{target.input_shape[0]} places"
        )


class TokenNetwork(nn.Module):
    """From activations (B, T, C) and labels (B,) to logits (B, T, V) of the token at each place.

    Args:
        shapes: of what it reads and returns.
        size: of the network.
    """

    mean: Tensor
    scale: Tensor
    rows: Tensor
    penalty: Tensor

    def __init__(self, shapes: TokenShapes, size: Size) -> None:
        super().__init__()
        self.shapes, width, channels = shapes, WIDTHS[size], shapes.channels
        self.register_buffer("mean", torch.zeros(shapes.length, channels))
        self.register_buffer("scale", torch.ones(channels))
        self.take = nn.Linear(channels, width)
        self.places = nn.Parameter(0.02 * torch.randn(shapes.length, width))
        self.labels = nn.Embedding(shapes.classes, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(BLOCKS[size])
        )
        self.norm = nn.LayerNorm(width)
        self.free = nn.Linear(width, shapes.tokens)
        self.register_buffer("rows", torch.zeros(shapes.tokens, channels))
        self.register_buffer("penalty", torch.zeros(shapes.tokens))
        self.direct = nn.Linear(channels, channels, bias=False)
        self.around = nn.Linear(width, channels)
        self.nearness = nn.Parameter(torch.ones(()))
        for zero in (self.labels.weight, self.free.weight, self.free.bias, self.around.weight, self.around.bias):
            nn.init.zeros_(zero)

    @torch.no_grad()
    def start_from(self, means: Tensor, whitening: Tensor, shares: Tensor) -> None:
        """Set what is near to what: tokens' whitened means (V, C), what whitens (C, C), and how frequent each is (V,).

        Until it is trained, the network then returns log probabilities of tokens whose activations are normal.
        """
        self.rows.copy_(means)
        self.penalty.copy_(means.square().sum(dim=1) / 2)
        self.direct.weight.copy_(whitening)
        rarest = 1 / (10 * len(shares))
        self.free.bias.copy_((shares + rarest).log())

    @torch.no_grad()
    def standardise_by(self, smashed: Tensor, real: Tensor) -> None:
        """Set mean (T, C) and deviation (C,) of activations (N, T, C) at real places (N, T)."""
        values, weight = smashed.float(), real[..., None].float()
        overall = (values * weight).sum(dim=(0, 1)) / weight.sum().clamp(min=1)
        # As if each place had been seen once more with the overall mean: few texts are long.
        mean = ((values * weight).sum(dim=0) + overall) / (weight.sum(dim=0) + 1)
        squares = ((values - mean).square() * weight).sum(dim=(0, 1)) / weight.sum().clamp(min=1)
        self.mean.copy_(mean)
        self.scale.copy_(1 / squares.sqrt().clamp(min=1e-6 * float(squares.max().sqrt()) + 1e-12))

    def features(self, smashed: Tensor, labels: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return what logits are made of: standardised activations (B, T, C) and what attention makes (B, T, width)."""
        own = (smashed - self.mean) * self.scale
        hidden = self.take(own) + self.places + self.labels(labels)[:, None]
        masked = ~real & real.any(dim=1, keepdim=True)  # where nothing is real, softmax would be NaN
        for block in self.blocks:
            hidden = block(hidden, src_key_padding_mask=masked)
        return own, self.norm(hidden)

    def read(self, own: Tensor, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of `features` (..., C) and (..., width), of all places or of some."""
        sought = self.direct(own) + self.around(hidden)
        logits: Tensor = self.free(hidden) + self.nearness * (sought @ self.rows.T - self.penalty)
        if self.shapes.padding is not None and self.shapes.padding < self.shapes.tokens:
            logits[..., self.shapes.padding] = torch.finfo(logits.dtype).min
        return logits

    def forward(self, smashed: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Return logits (B, T, V); places that are not real (B, T) are not attended to."""
        return self.read(*self.features(smashed, labels, real))
