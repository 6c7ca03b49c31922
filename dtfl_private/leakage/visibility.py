"""How far the weights that a malicious server sends are from honest ones: what a client could notice."""

import math
from collections.abc import Iterable

from torch import Tensor

from dtfl_private.protocol.messages import State

# Running statistics are no parameters: they follow the inputs, not the server.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def weight_jump(honest: State, sent: State) -> float:
    """Return the relative distance |w' - w| / |w| of sent parameters w' from the honest ones w; 0 if w is 0.

    Taken over the parameters that both have, running statistics left out. A client that kept the last global weights
    can compute it; between honest rounds it is about the learning rate's step.
    """
    names = [name for name in honest if name in sent and not name.endswith(STATISTICS)]
    moved = _square_sum(sent[name].double() - honest[name].to(sent[name].device).double() for name in names)
    size = _square_sum(honest[name].double() for name in names)
    return math.sqrt(moved / size) if size > 0 else 0.0


def loss_ratio(honest: Tensor, sent: Tensor) -> float:
    """Return how many times the local loss under the sent weights is that under the honest ones, both on one probe set.

    Weights that serve the server, not the training, show by a ratio well above 1.

    Raises:
        ValueError: the honest loss is not positive, so that there is no ratio.
    """
    if not float(honest) > 0:
        raise ValueError(f"honest loss {float(honest)} is not positive: there is no ratio to it")
    return float(sent) / float(honest)


def _square_sum(tensors: Iterable[Tensor]) -> float:
    return sum(float(tensor.square().sum()) for tensor in tensors)
