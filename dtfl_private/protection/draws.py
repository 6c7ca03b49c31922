"""What defenses draw, from whichever generator their client has: one of a seed, or a secret one.

From a seeded generator these are torch's own draws, number by number. From a `SecretGenerator` they are made of bits
of the operating system, or of a stream that only the client's secret gives. The noise is then drawn in float64, as half
the sum of four normal values, each by inversion of 64 bits, and added before the sum is rounded: the digits of a
floating-point sum could tell what was added (Mironov 2012, 10.1145/2382196.2382264; Holohan and Braghin 2021,
2107.10138, section 4, whose sum this is). What is left of that risk is not proven to be nothing: the values are still
floating-point, and not of a discrete distribution.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtfl_private.protection.secret_randomness import SecretGenerator
from dtfl_private.protocol.contracts import FloatArray

# Normal values in each sum, and how many sums are made at once: few enough for a fast cache.
SUMMED = 4
AT_ONCE = 2**15


def normal(shape: Sequence[int], chance: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal values on the generator's device, in ``dtype``; of a secret one always float64, CPU."""
    if not isinstance(chance, SecretGenerator):
        return torch.randn(tuple(shape), generator=chance, dtype=dtype, device=chance.device)
    count = math.prod(shape)
    parts = [_normal(chance, min(AT_ONCE, count - start)) for start in range(0, count, AT_ONCE)]
    return torch.from_numpy(np.concatenate([np.empty(0), *parts])).reshape(tuple(shape))


def plus_noise(values: Tensor, noise: Tensor, deviation: float) -> Tensor:
    """Return ``values + deviation * noise`` in the type and place of the values, rounded once, after the addition."""
    if noise.dtype == torch.float64 != values.dtype:
        return (values.cpu().double() + deviation * noise.cpu()).to(values)
    return values.add(noise.to(values.device), alpha=deviation)


def uniform(shape: Sequence[int], chance: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return values within [0, 1) on the generator's device, in ``dtype``; of a secret one always float64, CPU."""
    if not isinstance(chance, SecretGenerator):
        return torch.rand(tuple(shape), generator=chance, dtype=dtype, device=chance.device)
    drawn = (chance.bits(math.prod(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(drawn).reshape(tuple(shape))


def integers(low: int, high: int, shape: Sequence[int], chance: torch.Generator) -> Tensor:
    """Return whole numbers within low..high-1, each as likely as the others, on the generator's device, int64."""
    if not isinstance(chance, SecretGenerator):
        return torch.randint(low, high, tuple(shape), generator=chance, device=chance.device)
    drawn = low + _below(chance, high - low, math.prod(shape)).astype(np.int64)
    return torch.from_numpy(drawn).reshape(tuple(shape)).to(chance.device)


def exponential(like: Tensor, chance: torch.Generator) -> Tensor:
    """Return exponential values of mean 1 in the shape, type and place of ``like``."""
    if not isinstance(chance, SecretGenerator):
        return torch.empty_like(like).exponential_(generator=chance)
    return -torch.log1p(-uniform(like.shape, chance)).to(like)


def _normal(chance: SecretGenerator, count: int) -> FloatArray:
    """Return normal values, (count,): the sign by one bit, the size by 63 within (0, 1/2)."""
    from scipy.special import ndtri

    bits = chance.bits(SUMMED * count)
    tails = ((bits >> np.uint64(1)).astype(np.float64) + 0.5) * 2.0**-64
    sizes: FloatArray = ndtri(np.minimum(tails, 0.5))
    signed = np.where((bits & np.uint64(1)).astype(bool), sizes, -sizes)
    summed: FloatArray = signed.reshape(SUMMED, count).sum(axis=0) / math.sqrt(SUMMED)
    return summed


def _below(chance: SecretGenerator, limit: int, count: int) -> NDArray[np.uint64]:
    """Return whole numbers below a limit; what would favour some of them is drawn again."""
    most = 2**64 // limit * limit
    found = chance.bits(count)
    while most < 2**64 and (again := found >= np.uint64(most)).any():
        found[again] = chance.bits(int(again.sum()))
    return found % np.uint64(limit)
