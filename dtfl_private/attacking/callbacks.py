"""What an attack calls while it works: to say how far it is, and to cache long work."""

from collections.abc import Callable, Mapping

from torch import Tensor

Advance = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


Keep = Callable[[str, Callable[[], Mapping[str, Tensor]]], Mapping[str, Tensor]]
"""Return the tensors cached under a name, or make and cache them: of long work that other attacks share, or that is to
survive an interruption."""


PARTS = 10_000


def advance_within(advance: Advance, begin: float, end: float, done: int, total: int) -> None:
    """Tell how far all of the work is, of which a part from ``begin`` to ``end`` (0 to 1) has done so many steps."""
    advance(round(PARTS * (begin + (end - begin) * done / max(total, 1))), PARTS)


def show_nothing(done: int, total: int) -> None:
    """Do nothing."""


def keep_nothing(
    name: str,  # noqa: ARG001 - part of every `Keep`'s signature, unused here
    make: Callable[[], Mapping[str, Tensor]],
) -> Mapping[str, Tensor]:
    """Make the tensors anew each time: nothing is cached."""
    return make()


def below(prefix: str, keep: Keep) -> Keep:
    """Return what caches under names that begin with a prefix."""

    def keep_below(name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return keep(f"{prefix}/{name}", make)

    return keep_below
