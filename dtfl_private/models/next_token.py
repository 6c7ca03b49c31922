"""Next-token training: a language model says at each place of a text which token comes next.

Labels are then the tokens themselves, one place on: whoever is sent them reads the text.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.setting_types import HeadSize

IGNORED = -100
"""The label of a place behind which no token comes: the last one of a text, and padding."""

# Of how many features of a token a small head keeps one.
REDUCED = 4


def next_tokens(tokens_BT: Tensor, padding: int | None) -> Tensor:
    """Return the labels (B, T), int64, of texts (B, T): at each place the token behind it, or `IGNORED`."""
    labels = torch.full(tokens_BT.shape, IGNORED, device=tokens_BT.device)
    labels[:, :-1] = tokens_BT[:, 1:]
    return labels if padding is None else labels.masked_fill(labels == padding, IGNORED)


def next_token_loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Return the mean cross-entropy over all real places of a batch; 0 where there are none.

    Short texts so count less than long ones, as is usual.
    """
    exact = torch.promote_types(logits_BTV.dtype, torch.float32)
    total = F.cross_entropy(logits_BTV.flatten(0, 1).to(exact), labels_BT.flatten(), reduction="sum")
    return total / (labels_BT != IGNORED).sum().clamp(min=1)


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of a classifier (B, classes) on (B,) labels, or of a language model (B, T, vocabulary)."""
    return next_token_loss(logits, labels) if logits.ndim == 3 else F.cross_entropy(logits, labels)


def next_token_sums(logits_BTV: Tensor, labels_BT: Tensor) -> tuple[int, float, int]:
    """Return over all real places of a batch: right answers, cross-entropy in float64, and how many there are."""
    exact = torch.promote_types(logits_BTV.dtype, torch.float32)
    losses = F.cross_entropy(logits_BTV.flatten(0, 1).to(exact), labels_BT.flatten(), reduction="none")
    real = labels_BT != IGNORED
    correct = ((logits_BTV.argmax(dim=-1) == labels_BT) & real).sum()
    return int(correct), float(losses.cpu().double().sum()), int(real.sum())  # MPS has no float64


class LanguageHead(nn.Module):
    """A norm, and at each place one fully connected layer to all tokens: logits (B, T, vocabulary).

    Args:
        norm: over the last axis.
        tokens: from (..., width) to (..., vocabulary).
    """

    def __init__(self, norm: nn.Module, tokens: nn.Module) -> None:
        super().__init__()
        self.norm, self.tokens = norm, tokens

    def forward(self, features_BTC: Tensor) -> Tensor:
        """Return logits; those at places that are padding mean nothing."""
        logits: Tensor = self.tokens(self.norm(features_BTC))
        return logits


def small_weights(layer: nn.Linear) -> nn.Linear:
    """Return a layer with weights as small as those of embeddings, so that all tokens are about equally likely."""
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def make_token_heads(
    shapes: Mapping[int, tuple[int, ...]], vocabulary: int, size: HeadSize = "paper"
) -> dict[int, nn.Module]:
    """Return one auxiliary head per tier for cuts of shape (T, C): logits of the next token at each place.

    Behind a norm with V tokens a head of the paper's size has V C weights, a small one V C / 4 + C C / 4 (a product of
    two narrow layers), and a large one C C more than the paper's.

    Raises:
        InputError: a cut of another kind.
    """
    heads: dict[int, nn.Module] = {}
    for tier, shape in shapes.items():
        if len(shape) != 2:
            raise InputError(f"the cut of tier {tier} has shape {shape}; next-token training needs (tokens, width)")
        heads[tier] = LanguageHead(nn.LayerNorm(shape[1]), _LAYERS[size](shape[1], vocabulary))
    return heads


def _narrow(width: int, vocabulary: int) -> nn.Module:
    rank = -(-width // REDUCED)
    return nn.Sequential(nn.Linear(width, rank, bias=False), small_weights(nn.Linear(rank, vocabulary, bias=False)))


def _wide(width: int, vocabulary: int) -> nn.Module:
    last = small_weights(nn.Linear(width, vocabulary, bias=False))
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)


_LAYERS: Mapping[HeadSize, Callable[[int, int], nn.Module]] = {
    "small": _narrow,
    "paper": lambda width, vocabulary: small_weights(nn.Linear(width, vocabulary, bias=False)),
    "large": _wide,
}
