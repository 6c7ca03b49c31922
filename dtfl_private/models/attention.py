"""Multi-head self-attention written as matrix products."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.errors import InputError


def require_divisor(heads: int, width: int) -> None:
    """Refuse numbers of heads that do not divide the width.

    Raises:
        InputError: it does not divide it.
    """
    if width % heads:
        raise InputError(f"heads={heads} does not divide width={width}: choose a divisor of the width")


class Attention(nn.Module):
    """Self-attention of Vaswani et al. 2017 (arXiv 1706.03762, section 3.2) over (batch, tokens, width).

    torch's fused kernels have no second derivative, which attacks by gradient matching need, no rule for per-sample
    gradients, and on the CPU no entry in torch's flop counter. Plain matrix products have all three.

    Args:
        width: features of a token.
        heads: number of heads, a divisor of the width.
        dropout: share of the attention weights dropped in training.
        causal: whether a token attends only to itself and those before it.
        rotary: whether queries and keys are turned by their places (`turned`), and nothing has a bias, as in Llama.
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, *, causal: bool = False, rotary: bool = False
    ) -> None:
        super().__init__()
        require_divisor(heads, width)
        self.heads = heads
        self.causal, self.rotary = causal, rotary
        self.qkv = nn.Linear(width, 3 * width, bias=not rotary)
        self.out = nn.Linear(width, width, bias=not rotary)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight, gain=1 / math.sqrt(2))  # as three square matrices
        if not rotary:
            nn.init.zeros_(self.qkv.bias)
            nn.init.zeros_(self.out.bias)

    def forward(self, tokens_BTC: Tensor, *_: Tensor, real: Tensor | None = None, **__: Any) -> tuple[Tensor, None]:
        """Return the attended tokens (batch, tokens, width), and no attention weights.

        Nothing attends to places that are not ``real`` (batch, tokens); None: all are.

        Takes and ignores what torchvision passes to torch's attention beyond the tokens: the same tokens as keys and
        as values, and the wish for no weights.
        """
        batch, length, width = tokens_BTC.shape
        heads = self.qkv(tokens_BTC).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, tokens, width of a head)
        if self.rotary:
            query, key = turned(query), turned(key)
        scores = query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)
        if real is not None:
            # The least number and not minus infinity: where nothing may be attended to, the softmax is not NaN.
            scores = scores.masked_fill(~real[:, None, None, :], torch.finfo(scores.dtype).min)
        if self.causal:
            allowed = scores.new_ones(length, length).tril() > 0
            scores = scores.masked_fill(~allowed, float("-inf"))
        attended = self.dropout(scores.softmax(dim=-1)) @ value
        return self.out(attended.transpose(1, 2).reshape(batch, length, width)), None


def turned(values_BHTC: Tensor) -> Tensor:
    """Return the values of each place turned by an angle that grows with it (Su et al. 2021, arXiv 2104.09864).

    Value i and value i + C / 2 of place t are turned together, by t / 10000^(2 i / C).
    """
    length, width = values_BHTC.shape[-2:]
    half = torch.arange(width // 2, device=values_BHTC.device)
    angles_TC = torch.arange(length, device=values_BHTC.device)[:, None] * 10_000.0 ** (-2 * half / width)
    cosine, sine = angles_TC.cos().to(values_BHTC.dtype), angles_TC.sin().to(values_BHTC.dtype)
    first, second = values_BHTC.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
