"""Automatic cuts: which of the places where a network can be cut make good tiers.

The objective, to be minimised over all ways to choose M of the C candidates:

    sum over the M + 1 stages of ((M + 1) work_i / total - 1)^2  +  0.1 x sum over the M cuts of log2(bytes_j / least)

The first sum asks for stages of equal work, in which each tier offloads as much more than the next as any other. A
stage of twice the even share costs 1. The second sum asks for narrow tensors, since a cut's tensor is sent for each
example in each epoch: a cut twice as wide as the narrowest candidate costs 0.1, which is what a stage a third above or
below its share costs. The minimum is found exactly, by dynamic programming in O(M C^2), and is always the same: of two
equally good choices the one with the earlier cuts is taken.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from dtfl_private.errors import InputError

WIDTH_WEIGHT = 0.1


def cut_cost(work_C: Sequence[float], bytes_C: Sequence[float], total: float, chosen: Sequence[int]) -> float:
    """Return the objective of a choice of candidates.

    Args:
        work_C: work up to each of the C candidates (MACs, or measured seconds), ascending.
        bytes_C: bytes of the tensor that crosses at each candidate.
        total: work of the whole network.
        chosen: ascending indices of candidates.
    """
    edges = [0.0, *(work_C[index] for index in chosen), total]
    stages = len(chosen) + 1
    uneven = sum(_unevenness(stop - start, total, stages) for start, stop in pairwise(edges))
    return uneven + sum(_width(bytes_C, index) for index in chosen)


def _unevenness(work: float, total: float, stages: int) -> float:
    return (stages * work / total - 1) ** 2


def _width(bytes_C: Sequence[float], index: int) -> float:
    return WIDTH_WEIGHT * math.log2(bytes_C[index] / min(bytes_C))


def choose_cuts(
    work_C: Sequence[float], bytes_C: Sequence[float], total: float, count: int, *, first_kept: bool = False
) -> list[int]:
    """Return the indices of the ``count`` candidates that minimise `cut_cost`, ascending; arguments as there.

    With ``first_kept`` the first candidate is one of them, whatever that costs.

    Raises:
        InputError: fewer candidates than cuts.
    """
    candidates = len(work_C)
    if not 1 <= count <= candidates:
        raise InputError(f"{count} cuts are not possible: this network has {candidates} places to cut it at")
    stages = count + 1
    # best[c]: least cost of the stages that end at candidate c, over all choices of the cuts before it.
    best = [
        math.inf if first_kept and c else _unevenness(work, total, stages) + _width(bytes_C, c)
        for c, work in enumerate(work_C)
    ]
    before: list[list[int]] = []
    for _ in range(count - 1):
        costs, origins = [], []
        for c in range(candidates):
            options = [best[b] + _unevenness(work_C[c] - work_C[b], total, stages) for b in range(c)]
            least = min(options, default=math.inf)
            origins.append(options.index(least) if options else -1)
            costs.append(least + _width(bytes_C, c))
        best, before = costs, [*before, origins]
    last = min(range(candidates), key=lambda c: best[c] + _unevenness(total - work_C[c], total, stages))
    chosen = [last]
    for origins in reversed(before):
        chosen.append(origins[chosen[-1]])
    return chosen[::-1]
