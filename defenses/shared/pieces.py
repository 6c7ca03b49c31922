"""Pieces of activations, and orders to put them in: what the shuffling defenses share.

A piece is a square block of a map (B, C, H, W) over all its channels, or a run of consecutive tokens of (B, T, D).
Pieces are numbered row by row. Pure functions, for an attacker as well as for a client.
"""

import math

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.draws import integers


def piece_side(cut_shape: tuple[int, ...], patch: int, defense: str) -> int:
    """Return the side of the pieces (tokens per piece) of a cut's activations: ``patch`` as a rule.

    Where ``patch`` would take in everything, because the map is that small, it is the greatest side that leaves two or
    more equal pieces.

    Args:
        cut_shape: (C, H, W) or (T, D).
        patch: as the user wants it.
        defense: name, for the refusal.

    Raises:
        InputError: the activations cannot be cut so.
    """
    sides = _sides(cut_shape)
    if not sides or max(sides) < 2:
        raise InputError(
            f"{defense} cannot cut activations of shape {cut_shape} into pieces: it takes maps (channels, height, "
            "width) or tokens (tokens, width) of more than one position; leave out the tiers that deep or the defense"
        )
    fits = [size for size in range(1, max(sides)) if all(side % size == 0 for side in sides)]
    if patch >= max(sides):
        return fits[-1]
    if patch not in fits:
        what = f"{sides[0]}x{sides[1]} positions" if len(sides) == 2 else f"{sides[0]} tokens"
        raise InputError(
            f"{defense}: patch={patch} does not cut {what} into equal pieces: use patch={' or '.join(map(str, fits))}"
        )
    return patch


def count_pieces(cut_shape: tuple[int, ...], side: int) -> int:
    """Return the number of pieces of this side that activations (C, H, W) or (T, D) have."""
    return math.prod(length // side for length in _sides(cut_shape))


def _sides(cut_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths along which activations are cut; none of a shape that is neither a map nor tokens."""
    return {3: cut_shape[1:], 2: cut_shape[:1]}.get(len(cut_shape), ())


def cut_pieces(smashed: Tensor, patch: int) -> Tensor:
    """Return the pieces (B, pieces, values of a piece) of activations (B, C, H, W) or (B, T, D)."""
    if smashed.ndim == 3:
        batch, tokens, width = smashed.shape
        return smashed.reshape(batch, tokens // patch, patch * width)
    batch, channels, height, width = smashed.shape
    blocks = smashed.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def join_pieces(pieces: Tensor, patch: int, shape: torch.Size) -> Tensor:
    """Return the activations of ``shape`` that `cut_pieces` makes ``pieces`` of."""
    if len(shape) == 3:
        return pieces.reshape(shape)
    batch, channels, height, width = shape
    blocks = pieces.reshape(batch, height // patch, width // patch, channels, patch, patch)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(shape)


def random_orders(records: int, length: int, chance: torch.Generator) -> Tensor:
    """Return uniformly drawn permutations of 0..length-1, (records, length), on the stream's device."""
    # 62 bits: two keys of a record are as good as never equal.
    keys = integers(0, 2**62, (records, length), chance)
    return keys.argsort(dim=1)


def drawn_orders(records: int, length: int, key: str, at: ClientRound) -> Tensor:
    """Return orders (records, length): fresh ones, or (``key="client"``) the client's secret one for every record."""
    if key == "fresh":
        return random_orders(records, length, at.chance)
    return random_orders(1, length, at.lasting("order", length)).expand(records, length).to(at.device)
