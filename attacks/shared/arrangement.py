"""The puzzle that a shuffle sets: interchangeable pieces of activations, in groups, to be put back in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.defense_chain import DefenseChain

SHUFFLES = ("channel-shuffle", "patch-shuffle", "batch-patch-shuffle", "token-shuffle")


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """What the adversary knows of a shuffle: all but the orders drawn.

    A group holds pieces (N, V) that may be exchanged for one another, and has as many slots: the channels or the blocks
    of a record, or, where records exchange blocks, the blocks that a batch's records have in one place.

    Attributes:
        shuffle: name of the defense.
        side: of a block in positions of the map, or tokens per piece; for channels without meaning.
        lasting: one order per client, the same in all its releases.
        share: of the places in which records exchange pieces.
    """

    shuffle: str
    side: int = 1
    lasting: bool = False
    share: float = 1.0

    @property
    def within_record(self) -> bool:
        """Whether the pieces of a group are those of one record."""
        return self.shuffle != "batch-patch-shuffle"

    def groups(self, smashed: Tensor) -> Tensor:
        """Return the pieces (groups, N, V) of activations (B, *cut shape)."""
        pieces = self.pieces(smashed)
        return pieces if self.within_record else pieces.transpose(0, 1)

    def smashed(self, groups: Tensor, shape: torch.Size) -> Tensor:
        """Return the activations of ``shape`` that `groups` makes these groups of."""
        return self._join(groups if self.within_record else groups.transpose(0, 1), shape)

    def solve(self, costs: Tensor) -> Tensor:
        """Return for each slot the piece that belongs there (groups, N), at the least cost in all.

        Args:
            costs: (groups, N, N) of a piece (row) in a slot (column). Groups with one lasting order are solved as one.
        """
        if self.lasting:
            return hungarian(costs.mean(dim=0, keepdim=True)).expand(len(costs), -1)
        return hungarian(costs)

    def put(self, smashed: Tensor, order: Tensor) -> Tensor:
        """Return activations whose slots hold the pieces that `solve` says."""
        groups = self.groups(smashed)
        moved = groups.gather(1, order.to(groups.device).unsqueeze(-1).expand(groups.shape))
        return self.smashed(moved, smashed.shape)

    def match(self, smashed: Tensor, model: Tensor) -> Tensor:
        """Return the order (groups, N) that brings activations (B, *cut shape) nearest to others in order."""
        return self.solve(squared_distances(self.groups(smashed), self.groups(model)))

    def pieces(self, smashed: Tensor) -> Tensor:
        """Return the pieces (B, pieces of a record, V) of activations (B, *cut shape), record by record."""
        records, side = len(smashed), self.side
        if self.shuffle == "channel-shuffle":
            return smashed.transpose(1, 2) if smashed.ndim == 3 else smashed.flatten(2)
        if smashed.ndim == 3:
            return smashed.reshape(records, smashed.shape[1] // side, -1)
        _, channels, height, width = smashed.shape
        blocks = smashed.reshape(records, channels, height // side, side, width // side, side)
        return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def _join(self, pieces: Tensor, shape: torch.Size) -> Tensor:
        if self.shuffle == "channel-shuffle":
            return pieces.transpose(1, 2) if len(shape) == 3 else pieces.reshape(shape)
        if len(shape) == 3:
            return pieces.reshape(shape)
        records, channels, height, width = shape
        blocks = pieces.reshape(records, height // self.side, width // self.side, channels, self.side, self.side)
        return blocks.permute(0, 3, 1, 4, 2, 5).reshape(shape)


def puzzle_of(defense: DefenseChain, cut_shape: Sequence[int], attack: str) -> Puzzle:
    """Return the puzzle that a client's defenses set.

    Raises:
        InputError: they hold no shuffle, or several.
    """
    found = [member for member in defense if name_of(member) in SHUFFLES]
    if len(found) != 1:
        have = "none" if not found else " and ".join(map(name_of, found))
        raise InputError(f"{attack} undoes one shuffle ({', '.join(SHUFFLES)}), and this run has {have}")
    (member,) = found
    lasting = getattr(member, "key", "fresh") == "client"
    if name_of(member) == "channel-shuffle":
        return Puzzle(shuffle="channel-shuffle", lasting=lasting)
    share = getattr(member, "share", 1.0)
    return Puzzle(shuffle=name_of(member), side=_side(member, cut_shape), lasting=lasting, share=share)


def _side(shuffle: Defense, cut_shape: Sequence[int]) -> int:
    """Return the side of the pieces; where the setting is the whole map, the greatest that leaves several pieces."""
    sides = cut_shape[1:] if len(cut_shape) == 3 else cut_shape[:1]
    wanted: int = vars(shuffle).get("patch", 1)  # token-shuffle moves single positions
    fits = [size for size in range(1, max(sides)) if all(side % size == 0 for side in sides)]
    return fits[-1] if wanted >= max(sides) else wanted


def hungarian(costs: Tensor) -> Tensor:
    """Return for each column the row assigned to it (groups, N), at the least total cost of each group (N, N).

    The assignment problem of Kuhn 1955.
    """
    from scipy.optimize import linear_sum_assignment  # scipy takes a while to load

    rows = [linear_sum_assignment(cost.T)[1] for cost in costs.detach().double().cpu().numpy()]
    return torch.stack([torch.from_numpy(row) for row in rows])


def squared_distances(pieces: Tensor, others: Tensor) -> Tensor:
    """Return the squared distances (groups, N, M) of pieces (groups, N, V) from others (groups, M, V)."""
    squares = pieces.square().sum(dim=2)[:, :, None] + others.square().sum(dim=2)[:, None, :]
    return squares - 2 * pieces @ others.transpose(1, 2)
