"""The library's own blocks as stages: each reads from its input which places are padding, and leaves them zero."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dtfl_private.models.padding import kept, real_places
from dtfl_private.models.pooling import global_average

Pooling = Literal["mean", "first", "last"]
"""What a classifier sees: the mean of the real places, the first ([CLS]), or the last real one."""


class TokenEmbedding(nn.Module):
    """The library's embedding, (batch, length) int64 to (batch, length, width); zeros for padding, never looked up.

    Args:
        embedding: the library's module.
        look_up: from it, tokens and their positions to vectors.
        padding: the token that fills up; None: none does.
        first: the first position.
    """

    def __init__(
        self,
        embedding: nn.Module,
        look_up: Callable[[Any, Tensor, Tensor], Tensor],
        padding: int | None,
        first: int,
    ) -> None:
        super().__init__()
        self.embedding, self._look_up, self.padding, self.first = embedding, look_up, padding, first

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return (batch, length, width)."""
        real = None if self.padding is None else tokens_BT != self.padding
        known = tokens_BT if real is None else tokens_BT.masked_fill(~real, 0)
        # Of each text by itself, so that gradients of single records can be had.
        positions = (torch.arange(tokens_BT.shape[1], device=tokens_BT.device) + self.first).expand_as(tokens_BT)
        return kept(self._look_up(self.embedding, known, positions), real)


class MaskedBlock(nn.Module):
    """One of the library's blocks over (batch, length, width).

    Args:
        block: the library's module.
        causal: whether a token sees only itself and those before it.
        rotary: the library's module that makes cosines and sines of positions; None where the block needs none.
    """

    def __init__(self, block: nn.Module, *, causal: bool, rotary: nn.Module | None = None) -> None:
        super().__init__()
        self.block, self.causal, self.rotary = block, causal, rotary

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, length, width)."""
        real = real_places(tokens_BTC)
        settings: dict[str, Any] = {"attention_mask": additive_mask(real, tokens_BTC.dtype, causal=self.causal)}
        if self.rotary is not None:
            positions = torch.arange(tokens_BTC.shape[1], device=tokens_BTC.device)[None]
            settings["position_embeddings"] = self.rotary(tokens_BTC, positions)
        returned = self.block(tokens_BTC, **settings)
        return kept(returned[0] if isinstance(returned, tuple) else returned, real)


class Classifier(nn.Module):
    """The library's last norm, a vector for each sequence, and one fully connected layer: logits (batch, classes)."""

    def __init__(self, norm: nn.Module | None, width: int, classes: int, pooling: Pooling) -> None:
        super().__init__()
        self.norm, self.pooling = norm, pooling
        self.fc = nn.Linear(width, classes)
        nn.init.normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        real = real_places(tokens_BTC)
        normed = tokens_BTC if self.norm is None else kept(self.norm(tokens_BTC), real)
        logits: Tensor = self.fc(_pooled(normed, real, self.pooling))
        return logits


def _pooled(tokens_BTC: Tensor, real_BT: Tensor, pooling: Pooling) -> Tensor:
    if pooling == "mean":
        return global_average(tokens_BTC)
    if pooling == "first":
        return tokens_BTC[:, 0]
    places = torch.arange(real_BT.shape[1], device=real_BT.device)
    last = (places * real_BT).amax(dim=1)
    return tokens_BTC[torch.arange(len(tokens_BTC), device=real_BT.device), last]


def additive_mask(real_BT: Tensor, dtype: torch.dtype, *, causal: bool) -> Tensor:
    """Return what is added to scores (batch, 1, length, length): 0, or the least number where nothing may be seen."""
    length = real_BT.shape[1]
    allowed = real_BT[:, None, None, :].expand(-1, 1, length, -1)
    if causal:
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=real_BT.device).tril()
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
