"""Which trials are better: domination, frontier, what is promoted to the next rung, what is recommended."""

from collections.abc import Sequence

from dtfl_private.choosing.limits import Limit
from dtfl_private.choosing.trial import Standing, objectives


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether one point is nowhere worse (higher) than the other, and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(mine <= its for mine, its in pairs) and any(mine < its for mine, its in pairs)


def fronts(values: Sequence[Sequence[float]]) -> list[list[int]]:
    """Return places of points by fronts: those that nothing dominates, then those that only these dominate, ..."""
    left, found = list(range(len(values))), []
    while left:
        front = [at for at in left if not any(dominates(values[other], values[at]) for other in left)]
        found.append(front)
        left = [at for at in left if at not in front]
    return found


def frontier(stands: Sequence[Standing], limits: Sequence[Limit]) -> list[Standing]:
    """Return the trials that no other dominates in accuracy, time and leakage, in the order of their numbers.

    Trials that were not trained, and those with a defense that changes nothing, are not among them. Of trials that
    reached exactly the same, each is.
    """
    able = [stand for stand in stands if is_candidate(stand)]
    best = fronts([objectives(stand, limits) for stand in able])[:1]
    return sorted((able[at] for at in (best[0] if best else [])), key=lambda stand: stand.measured.trial)


def is_candidate(stand: Standing) -> bool:
    """Return whether a trial may be promoted or recommended: it ran, and no defense of it is one in name only."""
    return stand.measured.ran and not stand.measured.inactive


def in_order(stands: Sequence[Standing], limits: Sequence[Limit]) -> list[Standing]:
    """Return candidates, the most promising first: those within the rules by fronts, then by how little they break.

    On the first rungs values of limits count, not the ends of intervals, which are wide there. Within a front those
    come first that have most room around them (crowding distance), so that what is promoted is spread over it.
    """
    able = [stand for stand in stands if is_candidate(stand)]
    within = [stand for stand in able if stand.within_by_value]
    values = [objectives(stand, limits) for stand in within]
    ordered = [within[at] for front in fronts(values) for at in _by_room(front, values)]
    others = [stand for stand in able if not stand.within_by_value]
    return [*ordered, *sorted(others, key=lambda stand: (sum(stand.by_value), stand.measured.trial))]


def _by_room(front: Sequence[int], values: Sequence[Sequence[float]]) -> list[int]:
    """Return the places of a front, those with most room first; of equal ones the lower number."""
    room = dict.fromkeys(front, 0.0)
    for axis in range(len(values[front[0]]) if front else 0):
        line = sorted(front, key=lambda at: (values[at][axis], at))
        span = values[line[-1]][axis] - values[line[0]][axis]
        room[line[0]] = room[line[-1]] = float("inf")
        for before, at, after in zip(line, line[1:], line[2:], strict=False):
            room[at] += (values[after][axis] - values[before][axis]) / span if span > 0 else 0.0
    return sorted(front, key=lambda at: (-room[at], at))


def recommended(stands: Sequence[Standing], limits: Sequence[Limit]) -> list[Standing]:
    """Return the trials that may be recommended, the best first: most accurate, then fastest, then least exposed.

    Those whose limits hold by the ends of their intervals come before those whose values alone are within.
    """
    able = [stand for stand in stands if is_candidate(stand)]
    sure = [stand for stand in able if stand.within]
    likely = [stand for stand in able if stand.within_by_value and not stand.within]
    return [*_best_first(sure, limits), *_best_first(likely, limits)]


def nearest_misses(stands: Sequence[Standing], limits: Sequence[Limit], count: int = 3) -> list[Standing]:
    """Return the trials that break the rules least, though they break them."""
    able = [stand for stand in stands if is_candidate(stand) and not stand.within]
    return sorted(able, key=lambda stand: (stand.violation, objectives(stand, limits)))[:count]


def _best_first(stands: Sequence[Standing], limits: Sequence[Limit]) -> list[Standing]:
    return sorted(stands, key=lambda stand: (*objectives(stand, limits), stand.measured.trial))
