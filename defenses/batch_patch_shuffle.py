"""Exchange pieces of activations between the records of a batch."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.pieces import count_pieces, cut_pieces, join_pieces, piece_side, random_orders
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protocol.messages import SmashedBatch


def exchange_patches(smashed: Tensor, sources: Tensor, patch: int) -> Tensor:
    """Return activations (B, C, H, W) or (B, T, D) whose piece j of record i was piece j of record ``sources[i, j]``.

    Args:
        smashed: activations.
        sources: record numbers (B, pieces), each column a permutation of 0..B-1.
        patch: side of a block, or tokens per piece.
    """
    pieces = cut_pieces(smashed, patch)
    moved = pieces.gather(0, sources.unsqueeze(-1).expand(pieces.shape))
    return join_pieces(moved, patch, smashed.shape)


def random_sources(records: int, pieces: int, exchanged: int, chance: torch.Generator) -> Tensor:
    """Return record numbers (B, pieces): in ``exchanged`` places, drawn at random, the records are permuted."""
    own = torch.arange(records, device=chance.device).unsqueeze(1).expand(records, pieces)
    others = random_orders(pieces, records, chance).T
    chosen = random_orders(1, pieces, chance)[0] < exchanged
    return torch.where(chosen, others, own)


@dataclass(frozen=True, kw_only=True)
class BatchPatchShuffle(Defense):
    """Exchange pieces of activations between the records of a batch, each piece keeping its place.

    After the batch shuffling of Yao et al. 2022 (ICDM). There the client puts the pieces back before the loss; in DTFL
    nothing comes back, so that only a share of the places is exchanged and each label stays with the record that kept
    the rest. A batch of one record has nothing to exchange with.

    Attributes:
        patch: side of a block in positions of the map, or tokens per piece; where that is the whole map, the greatest
            side that leaves more than one block.
        share: of the places, drawn anew for every batch; at least one place.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="which pieces belong to one record",
        acts_on=("smashed",),
        cost="accuracy: pieces come with labels of other records; no arithmetic",
        attacker="the places and orders drawn; pieces that fit together can be matched",
        couples_records=frozenset({"smashed"}),
        nonexpansive=True,
        refuses_next_tokens="it moves places about, and each has a label of its own",
        refuses_padding="it gives records pieces of others, padding among them",
    )

    patch: Annotated[int, Field(ge=1)] = 4
    share: Annotated[float, Field(gt=0, le=1)] = 0.5

    def check(self, cut: Cut) -> None:
        """Refuse activations that the patch does not divide into pieces."""
        piece_side(cut.cut_shape, self.patch, "batch-patch-shuffle")

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with pieces exchanged between its records."""
        records, cut_shape = len(message.smashed), tuple(message.smashed.shape[1:])
        side = piece_side(cut_shape, self.patch, "batch-patch-shuffle")
        pieces = count_pieces(cut_shape, side)
        sources = random_sources(records, pieces, max(1, round(self.share * pieces)), at.chance)
        return replace(message, smashed=exchange_patches(message.smashed, sources, side))
