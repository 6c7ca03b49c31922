"""Weights on the meta device are not drawn: they hold no numbers.

To draw them there is slower than on the CPU, and torch would load its compiler for it, which takes two seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# What the initialisation of networks ends in; those of torch.nn.init come here as a whole, others by the method.
FILLING = {init.constant_, init.kaiming_uniform_, init.normal_, init.uniform_, Tensor.normal_, Tensor.uniform_}


class Unfilled(TorchFunctionMode):
    """Within it, tensors on the meta device are returned as they are instead of being filled; others are filled."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a function of torch returns; see there."""
        given = kwargs or {}
        if func in FILLING:
            filled = args[0] if args else given["tensor"]
            if filled.is_meta:
                return filled
        return func(*args, **given)
