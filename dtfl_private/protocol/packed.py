"""Activations in fewer bytes than their type has, as they are really sent: values without arithmetic."""

from dataclasses import dataclass

from torch import Tensor


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Even steps between the least and the greatest value of each row.

    codes: (R, bytes per row), uint8; with 4 bits the first of two values is in the high half.
    low: (R,), float32, the value of code 0.
    step: (R,), float32, the difference between neighbouring codes.
    bits: 8 or 4.
    """

    codes: Tensor
    low: Tensor
    step: Tensor
    bits: int

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return _bytes(self.codes, self.low, self.step)


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """Some values of each record, all others being zero.

    values: (B, k), in the type of the activations.
    indices: (B, k), their places within a record; int16 where that is enough, else int32.
    """

    values: Tensor
    indices: Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return _bytes(self.values, self.indices)


Packed = Quantized | Sparse
