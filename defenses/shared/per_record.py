"""Gradients of single records by Opacus's hooks, and checked.

No defense of its own: the part of dp-weights that depends on Opacus, which takes seconds to load.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn

from dtfl_private.errors import RunError

# Share of the summed norms by which per-record gradients may miss the batch's own: float32 sums miss by 1e-6, TF32 by
# 1e-3, a layer whose weights are used behind the hooks' back by all of itself.
TOLERANCE = 1e-2

# Likewise of all parameters' norms together: that much a gradient misses which rounding alone makes other than zero, as
# that of the bias of an attention's keys.
ROUNDING = 1e-6

# What torch says of layers that Opacus cannot work with, and what the user can do.
REMEDIES = {
    "BackwardHookFunction": "a layer changes its input in place: write 'out = out + x' and ReLU without inplace",
    "vmap": "a module has parameters of its own next to dropout or something else that cannot be vectorised: put these "
    "parameters into a layer that Opacus knows, such as nn.Linear or nn.Embedding",
}


class PerRecordGradients:
    """Collects the gradients of single records during the backward passes of a module that is being watched.

    Args:
        parameters: by name, those that are trained.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self._checked = False

    def of_batch(self, loss_sum: Tensor, records: int) -> list[Tensor]:
        """Go backward from a sum of the records' losses; return a gradient (records, *shape) per parameter.

        A parameter that the loss does not depend on has zero gradients. ``grad`` is left empty.

        Raises:
            RunError: the network uses a layer in a way in which gradients of single records cannot be had.
        """
        torch.autograd.backward(loss_sum)
        taken = [self._taken(name, parameter, records) for name, parameter in self.parameters.items()]
        if not self._checked:
            self._check(taken)
        self._checked = True
        return [single for single, _ in taken]

    def _taken(self, name: str, parameter: nn.Parameter, records: int) -> tuple[Tensor, Tensor | None]:
        """Return a parameter's gradients by record, and of the batch: None if the loss does not depend on it."""
        batch, parameter.grad = parameter.grad, None
        single = getattr(parameter, "grad_sample", None)
        parameter.grad_sample = None  # type: ignore[attr-defined] # Opacus's own attribute
        if batch is None and single is None:
            return parameter.new_zeros(records, *parameter.shape), None
        if batch is None or not isinstance(single, Tensor) or single.shape != (records, *parameter.shape):
            raise _unsupported(name)
        return single, batch

    def _check(self, taken: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Refuse gradients by record whose sum is not the batch's."""
        norms = [torch.linalg.vector_norm(single.flatten(1), dim=1).sum() for single, _ in taken]
        rounding = ROUNDING * sum(norm for norm in norms if norm.isfinite())
        for name, (single, batch), norm in zip(self.parameters, taken, norms, strict=True):
            if batch is None or not batch.isfinite().all():
                continue
            missed = torch.linalg.vector_norm(single.sum(0) - batch)
            # Not "greater than", which a NaN is not.
            if not missed <= TOLERANCE * norm + rounding:
                raise _unsupported(name)


class _Hooks(GradSampleHooks):  # type: ignore[misc] # Opacus has no types
    """Opacus's hooks for tensors of any memory layout: its convolutions take the usual one for granted."""

    def rearrange_grad_samples(self, **arguments: Any) -> tuple[list[Tensor], Tensor]:
        activations, gradients = super().rearrange_grad_samples(**arguments)
        return [tensor.contiguous() for tensor in activations], gradients.contiguous()


@contextmanager
def per_record_gradients(modules: nn.Module) -> Iterator[PerRecordGradients]:
    """Watch a module in training mode; afterwards nothing of that is left on it.

    Raises:
        RunError: the module has a layer that gradients of single records cannot be had of.
    """
    parameters = {name: parameter for name, parameter in modules.named_parameters() if parameter.requires_grad}
    for name, module in modules.named_modules():
        if isinstance(module, nn.MultiheadAttention) and any(p.requires_grad for p in module.parameters()):
            raise _unsupported(name)
    modules.zero_grad()  # what an earlier use of the network left would be taken for the batch's own
    try:
        hooks = _Hooks(modules, loss_reduction="sum")
    except NotImplementedError as error:  # how Opacus refuses a layer, batch norm among them
        raise RunError(f"dp-weights cannot protect this network: {error}; use a network with group norm") from None
    try:
        with warnings.catch_warnings():
            # The first layer's input needs no gradient, and the hooks need none of it.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            # Opacus takes a layer's integer inputs for a low precision, and then goes on in full precision.
            warnings.filterwarnings("ignore", message="In (CPU|CUDA) autocast, but the target dtype is not supported")
            yield PerRecordGradients(parameters)
    except RuntimeError as error:
        for sign, remedy in REMEDIES.items():
            if sign in str(error):
                raise RunError(f"dp-weights cannot protect this network: {remedy}") from error
        raise
    finally:
        hooks.cleanup()
        for module in modules.modules():
            for left_over in ("activations", "max_batch_len"):
                vars(module).pop(left_over, None)


def _unsupported(name: str) -> RunError:
    return RunError(
        f"dp-weights cannot tell the records apart in the gradient of '{name}': use layers that Opacus supports, each "
        "called as a module once or more, in training mode"
    )
