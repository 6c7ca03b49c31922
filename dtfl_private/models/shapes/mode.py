"""Within this mode, operators on the meta device follow the rules of this package where it has one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.models.shapes.rules import KEYWORDS, RULES

PLAIN = {torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64}


class ShapeRules(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not annotate its modes
    """Within it, operators on the meta device follow the rules below; all others run as ever."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not annotate its modes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing need be hidden from torch's compiler, which torch would load to hide it from."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = RULES.get(func)
        if rule is not None and _is_plain(args) and kwargs.keys() <= KEYWORDS.get(func, frozenset()):
            result = rule(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def _is_plain(args: Sequence[Any]) -> bool:
    """Return whether all tensors among the arguments are on the meta device, of types that the rules know."""
    flat = [inner for one in args for inner in (one if isinstance(one, list) else [one])]
    return all(one.is_meta and one.dtype in PLAIN for one in flat if isinstance(one, Tensor))
