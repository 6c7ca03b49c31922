"""Send the pieces of each record's activations in random order."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.pieces import count_pieces, cut_pieces, drawn_orders, join_pieces, piece_side
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protocol.messages import SmashedBatch


def shuffle_patches(smashed: Tensor, orders: Tensor, patch: int) -> Tensor:
    """Return activations (B, C, H, W) or (B, T, D) whose place j holds what was piece ``orders[record, j]``.

    Args:
        smashed: activations.
        orders: permutations (B, pieces).
        patch: side of a block, or tokens per piece.
    """
    pieces = cut_pieces(smashed, patch)
    moved = pieces.gather(1, orders.unsqueeze(-1).expand(pieces.shape))
    return join_pieces(moved, patch, smashed.shape)


@dataclass(frozen=True, kw_only=True)
class PatchShuffle(Defense):
    """Shuffle the square blocks (or runs of tokens) of each record's activations (Yao et al. 2022).

    "Privacy-Preserving Split Learning via Patch Shuffling over Transformers", ICDM 2022, shuffles the patches of vision
    transformers, which need no order. Here the server half must learn to do without it. The client trains on the
    activations in order; only what it sends is shuffled.

    Attributes:
        patch: side of a block in positions of the map, or tokens per piece; where that is the whole map, the greatest
            side that leaves more than one block.
        key: "fresh" draws an order per record and release, "client" one secret order per client for the whole run.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="where things are in an input",
        acts_on=("smashed",),
        cost="accuracy; no arithmetic",
        attacker="the orders drawn; pieces fit together and can be matched to their places",
        nonexpansive=True,
        refuses_next_tokens="it moves places about, and each has a label of its own",
        refuses_padding="it moves pieces to other places, padding among them",
    )

    patch: Annotated[int, Field(ge=1)] = 4
    key: Literal["fresh", "client"] = "fresh"

    def check(self, cut: Cut) -> None:
        """Refuse activations that the patch does not divide into pieces."""
        piece_side(cut.cut_shape, self.patch, "patch-shuffle")

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with each record's pieces in random order."""
        records, cut_shape = len(message.smashed), tuple(message.smashed.shape[1:])
        side = piece_side(cut_shape, self.patch, "patch-shuffle")
        pieces = count_pieces(cut_shape, side)
        orders = drawn_orders(records, pieces, self.key, at)
        return replace(message, smashed=shuffle_patches(message.smashed, orders, side))
