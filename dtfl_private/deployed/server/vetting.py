"""Updates that leave the average of no use: each number may be finite, and what the network makes of them need not be.

Without it anybody could end a run for all, as a loss that is no number ends it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from dtfl_private.protocol.messages import State
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.tasks import ClientResult, Evaluation, ImageRange

BREAKING = "with its update the loss of the averaged network is not finite"


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """An average that was judged, and how it did on each range of images."""

    model: State
    found: Mapping[ImageRange, Evaluation]

    @property
    def is_finite(self) -> bool:
        return all(math.isfinite(one.loss_sum) for one in self.found.values())


class Vetting:
    """Judges averages before they are believed; what it has found of the last one need not be computed again.

    Args:
        judge: returns how a network does on images.
        images: on which the run is judged after each round.
    """

    def __init__(self, judge: Callable[[State, ImageRange], Evaluation], images: Sequence[ImageRange]) -> None:
        self._judge, self._images = judge, images
        self._last: _Judged | None = None

    def breaking(self, results: Sequence[ClientResult], before: State) -> set[int]:
        """Return the clients without which the average of a round can be judged; those of the largest weights go first.

        Args:
            results: of the round.
            before: the weights that it began with.
        """
        kept = [result for result in results if result.model]
        out: set[int] = set()
        while kept and not self._judged(kept, before).is_finite:
            worst = max(kept, key=_largest).client
            out.add(worst)
            kept = [result for result in kept if result.client != worst]
        return out

    def evaluate(self, model: State, images: ImageRange) -> Evaluation:
        """Judge a network on images, unless it is the average that was judged on them last."""
        last = self._last
        if last is not None and images in last.found and _same(model, last.model):
            return last.found[images]
        return self._judge(model, images)

    def _judged(self, kept: Sequence[ClientResult], before: State) -> _Judged:
        average = WeightedAverage()
        for result in kept:
            average.add(result.model, result.examples)
        model = average.result(before)
        self._last = _Judged(model=model, found={images: self._judge(model, images) for images in self._images})
        return self._last


def _largest(result: ClientResult) -> float:
    return max(float(one.abs().max()) for one in result.model.values() if one.is_floating_point() and one.numel())


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
