"""How a trained model does on images that nobody trained on: sums after every round, answers at the end of a run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dtfl_private.protocol.messages import State
from dtfl_private.training.executor import Executor
from dtfl_private.training.method import Method
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import Evaluation, ImageRange, ImageSet, total


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """Images that models are judged on.

    Attributes:
        on: which of the images that workers have.
        count: how many.
        owned: where the images of each client begin and end that holds some; empty if they are nobody's.
    """

    on: ImageSet
    count: int
    owned: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def judge(
    method: Method, executor: Executor, weights: GlobalWeights, extras: State, images: JudgedImages
) -> Evaluation:
    """Return how the trained model does on these images, each judged once.

    Where clients have networks of their own, each judges its own images, or its share of those that are nobody's; then
    images of clients that have no network yet are not judged.
    """
    shares = _shares(method, weights, extras, images)
    return total([executor.evaluate(model, judged) for model, judged in shares])


def answers(
    method: Method, executor: Executor, weights: GlobalWeights, extras: State, images: JudgedImages
) -> tuple[Tensor, Tensor]:
    """Return the logits (N, classes), float64, for all of these images, and which of them were judged, bool (N,)."""
    parts = [(executor.logits(model, judged), judged) for model, judged in _shares(method, weights, extras, images)]
    classes = parts[0][0].shape[1] if parts else 1
    logits = torch.full((images.count, classes), math.nan, dtype=torch.float64)
    for part, judged in parts:
        logits[judged.start : judged.stop : judged.step] = part
    return logits, ~logits.isnan().any(dim=1)


def _shares(
    method: Method, weights: GlobalWeights, extras: State, images: JudgedImages
) -> Iterator[tuple[State, ImageRange]]:
    """Yield each network that is judged, and the images that it is judged on."""
    networks = method.own_networks(extras)
    if not networks:
        yield weights.model, ImageRange(on=images.on)
    for place, (client, own) in enumerate(networks.items()):
        model = {**weights.model, **own}
        if not images.owned:
            yield model, ImageRange(on=images.on, start=place, step=len(networks))
        elif client in images.owned:
            start, stop = images.owned[client]
            yield model, ImageRange(on=images.on, start=start, stop=stop)
