"""The batch norms of a network that an adversary runs: what they measure of a batch, while they themselves stay put."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dtfl_private.models.statistics import MEAN, VARIANCE

Moments = tuple[Tensor, Tensor]
"""Mean and variance of a layer's channels (channels,), each."""


class BatchNorms:
    """Batch norms whose running statistics no forward pass changes; in training mode they compute with the batch's own.

    Args:
        network: whose layers they are; their momentum is set to 0.
    """

    def __init__(self, network: nn.Module) -> None:
        self._layers = _layers(network)
        self._momenta = {name: layer.momentum for name, layer in self._layers.items()}
        for layer in self._layers.values():
            layer.momentum = 0.0

    @property
    def momenta(self) -> Mapping[str, float]:
        """By how much the running statistics of each layer move with a batch in a client's training, by its name.

        Of layers that keep a moving average, are in training mode, and so show what a batch was like.
        """
        return {
            name: momentum
            for name, momentum in self._momenta.items()
            if momentum and self._layers[name].training and self._layers[name].running_mean is not None
        }

    @property
    def running(self) -> dict[str, Moments]:
        """Copies of the running statistics of the layers in `momenta`."""
        found = {}
        for name in self.momenta:
            mean, variance = self._layers[name].running_mean, self._layers[name].running_var
            assert mean is not None
            assert variance is not None
            found[name] = (mean.clone(), variance.clone())
        return found

    def thaw(self, copy: nn.Module) -> None:
        """Let a copy of the network train its running statistics, as a client's does."""
        for name, layer in _layers(copy).items():
            layer.momentum = self._momenta[name]

    @contextmanager
    def watched(self) -> Iterator[dict[str, Moments]]:
        """Collect the moments that each layer in `momenta` takes of what it is given meanwhile; differentiable.

        The variance is the unbiased one, as in the running statistics. Of several passes the last counts.
        """
        found: dict[str, Moments] = {}
        with ExitStack() as stack:
            for name in self.momenta:

                def watch(_layer: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                    values = given[0].float()
                    variance, mean = torch.var_mean(values, dim=[d for d in range(values.ndim) if d != 1])
                    found[name] = (mean, variance)

                handle = self._layers[name].register_forward_pre_hook(watch)
                stack.callback(handle.remove)
            yield found


def named(moments: Mapping[str, Moments]) -> dict[str, Tensor]:
    """Return moments as the running statistics that they are in a network's state."""
    return {
        f"{name}.{kind}": value
        for name, pair in moments.items()
        for kind, value in zip((MEAN, VARIANCE), pair, strict=True)
    }


def _layers(network: nn.Module) -> dict[str, _BatchNorm]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, _BatchNorm)}
