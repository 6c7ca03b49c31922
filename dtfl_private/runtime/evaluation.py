"""The test set in pieces of a fixed size."""

EVALUATION_BATCH = 500
"""Test images judged at once: a fixed number, so that sums are the same wherever they are computed."""


def chunks_of(images: int, share: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return (start, stop, step) of the pieces in which the test images i, i + n, ... of a share (i, n) are judged."""
    first, step = share
    starts = range(first, images, EVALUATION_BATCH * step)
    return [(start, min(start + EVALUATION_BATCH * step, images), step) for start in starts]
