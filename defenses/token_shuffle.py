"""Send the tokens of each text, or the positions of each map, in random order."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dtfl_private.defenses.shared.pieces import cut_pieces, join_pieces, piece_side
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.draws import integers
from dtfl_private.protocol.messages import SmashedBatch

# Beyond all keys that are drawn.
LAST = 2**62


def orders_of_real(real_BT: Tensor, keys_BT: Tensor) -> Tensor:
    """Return permutations (B, T) that order real places among themselves by their keys, and leave padding in its place.

    Args:
        real_BT: which places are real.
        keys_BT: int64 within 0..2^62-1.
    """
    places = torch.arange(real_BT.shape[1], device=real_BT.device)
    behind = LAST + places  # padding: behind all that is real, in order
    targets = torch.where(real_BT, places, behind).argsort(dim=1)
    sources = torch.where(real_BT, keys_BT, behind).argsort(dim=1)
    return torch.empty_like(sources).scatter_(1, targets, sources)


@dataclass(frozen=True, kw_only=True)
class TokenShuffle(Defense):
    """Shuffle the activations of each text's tokens, or of each map's positions; padding stays where it is.

    A Transformer's blocks know places only by what the embedding added: a server half that looks both ways and pools by
    the mean computes the same of shuffled tokens as of those in order, up to rounding; one with a causal mask, rotary
    positions or a [CLS] token must learn to do without. So it costs little, and for the same reason hides little: each
    vector still tells its token, and often its place. After the patches of Yao et al. 2022, "Privacy-Preserving
    Split Learning via Patch Shuffling over Transformers" (ICDM). The client trains on the activations in order; only
    what it sends is shuffled.

    Attributes:
        key: "fresh" draws an order per record and release, "client" one secret order per client for the whole run.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="where tokens stand in a text",
        acts_on=("smashed",),
        cost="copies; no arithmetic; accuracy of causal networks",
        attacker="the orders drawn; tokens tell their places by what the embedding added",
        nonexpansive=True,
        refuses_next_tokens="it moves places about, and each has a label of its own",
    )

    key: Literal["fresh", "client"] = "fresh"

    def check(self, cut: Cut) -> None:
        """Refuse activations of one position."""
        piece_side(cut.cut_shape, 1, "token-shuffle")

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with the real tokens of each record in random order."""
        tokens = cut_pieces(message.smashed, 1)
        records, length = tokens.shape[:2]
        if self.key == "fresh":
            keys = integers(0, LAST, (records, length), at.chance)
        else:
            keys = integers(0, LAST, (1, length), at.lasting("order", length)).to(at.device).expand(records, -1)
        real = torch.ones_like(keys, dtype=torch.bool) if at.real is None else at.real
        orders = orders_of_real(real, keys)
        moved = tokens.gather(1, orders[..., None].expand(tokens.shape))
        return replace(message, smashed=join_pieces(moved, 1, message.smashed.shape))
