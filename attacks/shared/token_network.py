"""A Transformer that reads tokens off activations: attention over all places, the client half's own table as a start.

Logits of a token are the sum of two parts: how near a projection of the activations is to the token's row in the client
half's embedding table, from which the network starts as a nearest-row lookup and by which it tells tokens apart that
the adversary has hardly ever seen, and a free linear layer.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dtfl_private.attacking.base import Target
from dtfl_private.errors import InputError

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)
WIDTHS = {"small": 64, "medium": 128, "large": 256}
BLOCKS = {"small": 1, "medium": 2, "large": 4}
HEADS = 4

# The network starts with this weight of nearness, per channel of the table: confident only where it is near indeed.
FIRST_NEARNESS = 0.1


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
        table: (V, E), rows of the client half's embedding table; None where there is none.
    """

    mean: Tensor
    scale: Tensor
    rows: Tensor
    penalty: Tensor

    def __init__(self, shapes: TokenShapes, size: Size, table: Tensor | None) -> None:
        super().__init__()
        self.shapes, width = shapes, WIDTHS[size]
        self.register_buffer("mean", torch.zeros(shapes.length, shapes.channels))
        self.register_buffer("scale", torch.ones(shapes.channels))
        self.take = nn.Linear(shapes.channels, width)
        self.places = nn.Parameter(0.02 * torch.randn(shapes.length, width))
        self.labels = nn.Embedding(shapes.classes, width)
        nn.init.zeros_(self.labels.weight)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(BLOCKS[size])
        )
        self.norm = nn.LayerNorm(width)
        self.free = nn.Linear(width, shapes.tokens)
        if table is not None:
            nn.init.zeros_(self.free.weight)
        nn.init.zeros_(self.free.bias)
        # Known from the client half: not among the weights that are kept.
        rows = torch.zeros(shapes.tokens, 1) if table is None else _standardised(table[: shapes.tokens].float())
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("penalty", rows.square().sum(dim=1) / 2, persistent=False)
        self.direct = nn.Linear(shapes.channels, rows.shape[1], bias=False)
        self.around = nn.Linear(width, rows.shape[1])
        with torch.no_grad():
            self.direct.weight.copy_(torch.eye(*self.direct.weight.shape))
            nn.init.zeros_(self.around.weight)
            nn.init.zeros_(self.around.bias)
        self.nearness = nn.Parameter(torch.tensor(0.0 if table is None else FIRST_NEARNESS))

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


def _standardised(table: Tensor) -> Tensor:
    """Return a table's rows (V, E) with mean 0 and deviation 1 in each column."""
    return (table - table.mean(dim=0)) / table.std(dim=0).clamp(min=1e-12)
