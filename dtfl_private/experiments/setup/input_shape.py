"""The shape of an input, as a text names it."""

import math
from collections.abc import Sequence

from dtfl_private.errors import InputError

# Values of one input: beyond it a single training step would not fit into the memory of common machines.
LARGEST_INPUT = 2**24


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that ``CxHxW`` (an image) or ``T`` (so many tokens) names.

    Raises:
        InputError: neither three positive numbers nor one.
    """
    parts: Sequence[str] = text.lower().split("x")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(
            f"input shape '{text}' is not CHANNELSxHEIGHTxWIDTH, as in 3x32x32, nor a number of tokens, as in 512"
        )
    shape = tuple(int(part) for part in parts)
    if math.prod(shape) > LARGEST_INPUT:
        raise InputError(f"input shape '{text}' has more than {LARGEST_INPUT:,} values: choose a smaller one")
    return shape
