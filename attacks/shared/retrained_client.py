"""A client network of the adversary's own, trained as a client trains that begins with weights that everybody knows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Beginning
from dtfl_private.attacking.view import View
from dtfl_private.protocol.messages import ModelDownload


def retrain(view: View, beginning: Beginning, number: int, *, adaptive: bool) -> ModelDownload:
    """Return the beginning's network after as many steps on auxiliary images as the client has taken on its own.

    Networks of the same beginning stay close to each other for a while (Frankle et al. 2020, ICML, "Linear mode
    connectivity"), so that the client's activations are like those of this one; and the longer, the less.

    Args:
        view: of the adversary.
        beginning: of the client's network.
        number: draws the batches.
        adaptive: with the loss of the clients' defenses.
    """
    steps, data = view.local_steps, view.auxiliary
    name = f"retrained/{beginning.steps}/{number}"
    program = view.program_with(beginning.download, adaptive=adaptive, draw=name)
    size = min(steps.batch_size or len(data.labels), len(data.labels))
    order = _passes(len(data.labels), size, view.chance("retrained", number))
    places = [next(order) for _ in range(beginning.steps)]
    batches = [(data.images[own].to(program.device), data.labels[own].to(program.device)) for own in places]
    return program.retrained(batches, steps.settings, steps.lr)


def _passes(count: int, size: int, chance: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of places, pass after pass in random order; what makes no whole batch is left out of a pass."""
    while True:
        order = torch.randperm(count, generator=chance)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
