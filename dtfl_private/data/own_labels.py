"""Labels that a program holds, checked, and the names of their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtfl_private.data.own_pixels import array_of
from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray

# Labels beyond it are taken for something else, as ids, unless the classes are named.
MOST_UNNAMED = 10_000


def labels_of(labels: object, what: str, count: int) -> IntArray:
    """Return labels as int64 (N,).

    Args:
        labels: an array, a tensor or a sequence of whole numbers from 0.
        what: how errors call them.
        count: how many there must be.

    Raises:
        InputError: something else.
    """
    array = np.asarray(labels) if isinstance(labels, list | tuple) else array_of(labels, what)
    if array.shape != (count,):
        hint = "; of one-hot labels give labels.argmax(1)" if array.ndim == 2 else ""
        raise InputError(f"{what} have the shape {array.shape}, expected {(count,)}: a number for each image{hint}")
    if array.dtype.kind not in "ui":
        raise InputError(f"{what} are of the type {array.dtype}, expected whole numbers from 0")
    if count and array.min() < 0:
        raise InputError(f"{what} go down to {array.min()}, expected whole numbers from 0")
    if count and int(array.max()) >= 2**31:
        raise InputError(f"{what} go up to {array.max()}: number the classes from 0")
    return array.astype(np.int64)


def label_of(label: Any, what: str) -> int:
    """Return one label, a whole number or an array or tensor of one, as a number.

    Raises:
        InputError: it is none.
    """
    if hasattr(label, "item") and getattr(label, "ndim", None) == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        shown = f"{type(label).__name__}"
        raise InputError(f"{what} is a {shown}, expected a whole number from 0")
    return label


def class_names(given: Sequence[str] | None, labels: Sequence[IntArray]) -> tuple[str, ...]:
    """Return the names of the classes: those given, or their numbers.

    Raises:
        InputError: a label has no name, or the labels are of fewer than two classes or look like something else.
    """
    highest = max(int(part.max()) for part in labels if len(part))
    if given is not None:
        names = tuple(map(str, given))
        if highest >= len(names):
            raise InputError(f"labels go up to {highest}, but there are {len(names)} classes: name them all")
        return names
    if highest >= MOST_UNNAMED:
        raise InputError(f"labels go up to {highest}: number the classes from 0, or name them all by classes")
    if highest == 0:
        raise InputError("all labels are 0: at least two classes are needed")
    return tuple(map(str, range(highest + 1)))
