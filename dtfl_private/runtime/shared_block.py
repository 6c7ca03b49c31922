"""Many tensors in one piece of shared memory: one file descriptor and one mapping, however many they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dtfl_private.protocol.messages import State

# Every piece begins where a processor's vector instructions like it to.
ALIGNMENT_BYTES = 64


def share(tensor: Tensor) -> None:
    """Move a tensor's data to memory that other processes can map; that memory is reserved at once.

    Raises:
        RuntimeError: there is not enough of it, or no file descriptor is left.
    """
    tensor.share_memory_()  # type: ignore[no-untyped-call] # torch gives this one method no types


@dataclass(frozen=True, kw_only=True)
class SharedBlock:
    """Pieces of bytes in one piece of shared memory.

    Attributes:
        memory: (N,) uint8, in shared memory.
        sizes: bytes of each piece.
    """

    memory: Tensor
    sizes: Sequence[int]

    @classmethod
    def holding(cls, pieces: Sequence[Tensor]) -> Self:
        """Copy pieces, each (bytes,) uint8, into a new block.

        Raises:
            RuntimeError: see `share`.
        """
        sizes = [len(piece) for piece in pieces]
        block = cls(memory=torch.empty(max(1, _starts(sizes)[-1]), dtype=torch.uint8), sizes=sizes)
        share(block.memory)
        for target, piece in zip(block.pieces(), pieces, strict=True):
            target.copy_(piece)
        return block

    def pieces(self) -> list[Tensor]:
        """Return the pieces, each (bytes,) uint8: the block's own memory, seen by tensors with a storage of their own.

        So a copy of one of them copies no other piece along.
        """
        memory = self.memory.numpy()
        return [
            torch.frombuffer(memory, dtype=torch.uint8, count=size, offset=start)
            if size
            else torch.empty(0, dtype=torch.uint8)
            for size, start in zip(self.sizes, _starts(self.sizes), strict=False)
        ]


def _starts(sizes: Sequence[int]) -> list[int]:
    """Return where each piece starts, and at last where the block ends."""
    starts = [0]
    for size in sizes:
        starts.append(-(-(starts[-1] + size) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
    return starts


@dataclass(frozen=True, kw_only=True)
class SharedState:
    """Named tensors in one piece of shared memory.

    Attributes:
        block: their bytes.
        forms: name, type and shape of each.
    """

    block: SharedBlock
    forms: Sequence[tuple[str, torch.dtype, torch.Size]]

    @classmethod
    def holding(cls, state: State) -> Self:
        """Copy tensors into shared memory.

        Raises:
            RuntimeError: see `share`.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        return cls(
            block=SharedBlock.holding([tensor.flatten().view(torch.uint8) for tensor in tensors.values()]),
            forms=[(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()],
        )

    def tensors(self) -> State:
        """Return the tensors: in every process the same memory."""
        return {
            name: piece.view(dtype).view(shape)
            for piece, (name, dtype, shape) in zip(self.block.pieces(), self.forms, strict=True)
        }
