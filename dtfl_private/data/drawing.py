"""Which training images a run uses: a random draw, and validation images that are held out of it."""

from collections.abc import Iterable

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray

NONE_HELD_OUT: IntArray = np.array([], dtype=np.int64)


def drawn_places(total: int, count: int, rng: np.random.Generator, held_out: IntArray = NONE_HELD_OUT) -> IntArray:
    """Return the places of ``count`` images of ``total``, drawn from those that are not held out, ascending.

    The images are put in a random order, and the first are taken: with others held out the draw of the same ``rng`` is
    the same but for those. All that are left are taken where there are fewer than ``count``.
    """
    order = rng.permutation(total)
    return np.sort(order[~np.isin(order, held_out)][:count])


def validation_places(
    labels_N: IntArray, share: float, rng: np.random.Generator, used: Iterable[IntArray] = ()
) -> IntArray:
    """Return the places of validation images, ascending: a share of all images, each class in its proportion.

    Args:
        labels_N: class of each image.
        share: of all images, 0..1.
        rng: of the draw.
        used: places of images that must not be among them.

    Raises:
        InputError: the share is less than one image, all images, or more than are not used.
    """
    total, wanted = len(labels_N), round(share * len(labels_N))
    free = np.setdiff1d(np.arange(total), np.concatenate([NONE_HELD_OUT, *used]))
    if not 0 < wanted < total:
        raise InputError(
            f"validation {share:g} of {total:,} training images is {wanted:,}: some, not all, must be left"
        )
    if wanted > len(free):
        raise InputError(
            f"validation {share:g} of {total:,} training images is {wanted:,}, but only {len(free):,} of them are no "
            "run's: lower validation or max_train_images"
        )
    return stratified_places(labels_N, free, wanted, rng)


def stratified_places(labels_N: IntArray, free: IntArray, wanted: int, rng: np.random.Generator) -> IntArray:
    """Return ``wanted`` of the places in ``free``, ascending, each class within one image of its proportion there."""
    # Sorted by class, in a random order within each, and taken at equal distances.
    by_class = free[np.lexsort((rng.random(len(free)), labels_N[free]))]
    steps = (np.arange(wanted) + 0.5) * len(free) / max(wanted, 1)
    return np.sort(by_class[steps.astype(np.int64)])
