"""Axes that fit what is drawn: neither mostly empty, nor so narrow that nothing looks like much."""

from collections.abc import Sequence

ROOM = 0.06
"""Of the span, at either end, so that markers and intervals are whole."""

LEAST_SHARE = 0.1
"""Span of an axis of figures that have limits, as a share of the range between 0 (or the lower limit) and 1."""


def fitted(values: Sequence[float], limits: tuple[float, float] | None) -> tuple[float, float]:
    """Return the ends of an axis on which all values lie within, with some room.

    Args:
        values: that are drawn, with their intervals.
        limits: the least and the largest value that there can be; beyond them there is room for markers only.
    """
    low, high = min(values), max(values)
    span = max(high - low, _least_span(low, high, limits))
    middle = (low + high) / 2
    low, high = min(low, middle - span / 2), max(high, middle + span / 2)
    if limits is not None:
        # Moved, not cut, so that the span stays.
        over, under = max(0.0, high - limits[1]), max(0.0, limits[0] - low)
        low, high = max(limits[0], low - over), min(limits[1], high + under)
    room = ROOM * (high - low)
    return low - room, high + room


def _least_span(low: float, high: float, limits: tuple[float, float] | None) -> float:
    if limits is None or limits[1] > 1:
        return LEAST_SHARE * max(abs(low), abs(high)) or 1.0
    return LEAST_SHARE * (limits[1] - max(0.0, limits[0]))
