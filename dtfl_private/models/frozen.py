"""Weights that are never trained: buffers that are no part of a network's state.

Parameters are what optimisers move, and the state is what is sent, averaged and kept in checkpoints. Frozen weights are
neither, yet they go wherever their module goes: to another device, type, copy or process. Whoever builds the network
puts them there, each party its own.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from dtfl_private.protocol.messages import tensor_bytes

# The attribute of a module that names its frozen weights.
NAMES = "frozen_names"


def freeze(module: nn.Module) -> None:
    """Turn all parameters that want no gradient into such buffers, in place."""
    for part in module.modules():
        names = tuple(name for name, own in part.named_parameters(recurse=False) if not own.requires_grad)
        for name in names:
            values = part.get_parameter(name).detach()
            delattr(part, name)
            part.register_buffer(name, values, persistent=False)
        if names:
            setattr(part, NAMES, (*getattr(part, NAMES, ()), *names))


def frozen_weights(module: nn.Module) -> Iterator[Tensor]:
    """Yield what `freeze` has frozen in a module."""
    for part in module.modules():
        for name in getattr(part, NAMES, ()):
            yield part.get_buffer(name)


def frozen_numbers(module: nn.Module) -> int:
    """Return how many frozen weights a module has."""
    return sum(tensor.numel() for tensor in frozen_weights(module))


def frozen_bytes(module: nn.Module) -> int:
    """Return their bytes."""
    return sum(map(tensor_bytes, frozen_weights(module)))
