"""The weighted average of client models, as results arrive: memory does not grow with the number of clients."""

import torch
from torch import Tensor

from dtfl_private.protocol.messages import State


class WeightedAverage:
    """sum_k N_k w_k / sum_k N_k of states with the same names, in float64.

    Integer buffers (batch norm's counters) are averaged and rounded.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weight = 0

    def add(self, state: State, weight: int) -> None:
        """Add one client's state with its number of examples."""
        if self._weight and state.keys() != self._sums.keys():
            raise ValueError(f"states differ in {sorted(state.keys() ^ self._sums.keys())}")
        for name, tensor in state.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros(tensor.shape, dtype=torch.float64)
            if tensor.shape != self._sums[name].shape:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, the others' {tuple(self._sums[name].shape)}")
            self._sums[name].add_(tensor.double(), alpha=weight)
        self._weight += weight

    def result(self, otherwise: State) -> State:
        """Return the average in the types of ``otherwise``, or ``otherwise`` itself when nothing was added."""
        if not self._weight:
            return otherwise
        averaged = {}
        for name, total in self._sums.items():
            mean = total / self._weight
            dtype = otherwise[name].dtype
            averaged[name] = (mean if dtype.is_floating_point else mean.round()).to(dtype)
        return averaged
