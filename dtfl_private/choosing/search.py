"""The search: points in batches on the first rung, the most promising of them on the next, up to the last.

What is tried follows from the space, the rules, the plan and what trials measured, in the order of their numbers. It
does not depend on which trial finished first, so that an interrupted search goes on as if it had not been.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dtfl_private.choosing.defense_choice import Point
from dtfl_private.choosing.ranking import in_order
from dtfl_private.choosing.sampler import next_points
from dtfl_private.choosing.space import Space
from dtfl_private.choosing.trial import Measured, Rules, Standing, standing
from dtfl_private.errors import InputError, RunError

# Points that are asked for at once: so many processes at a time are kept busy, whatever their number is.
BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A point to be tried on a rung; trial 0 is the untouched configuration."""

    trial: int
    rung: int
    point: Point


Evaluate = Callable[[Sequence[Ask], Callable[[Measured], None]], None]
"""What tries points: it calls its second argument with what each of them measured, in any order."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """How many trials there are on each rung, and what chance they have.

    Attributes:
        trials: on the first rung, the untouched configuration among them.
        promoted: on each further rung, besides the untouched configuration.
        seed: of the sampler.
    """

    trials: int
    promoted: Sequence[int]
    seed: int = 0

    @property
    def last(self) -> int:
        """The last rung, on which trials are whole."""
        return len(self.promoted)


@dataclass(kw_only=True)
class Search:
    """A search under way: what is known of it by trial and rung, and what tries more.

    Attributes:
        space: to choose from.
        first: points that it begins with; that of trial 0 is empty if the untouched configuration is none of the space.
        rules: that are to be kept.
        ladder: how many trials there are.
        evaluate: tries points.
        keep: writes down what was measured, before anything else is done with it.
        same: returns what is equal for points that come to the same configuration.
        possible: whether a point may be proposed at all; others take no trial.
        known: what was measured before.
    """

    space: Space
    first: Sequence[Point]
    rules: Rules
    ladder: Ladder
    evaluate: Evaluate
    keep: Callable[[Measured], None] = lambda _: None
    same: Callable[[Point], object] = lambda point: tuple(sorted(point.items()))
    possible: Callable[[Point], bool] = lambda _: True
    without: Callable[[Point, Sequence[str]], Point] | None = None
    known: dict[tuple[int, int], Measured] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list, init=False)
    used_up: bool = field(default=False, init=False)

    def begin(self) -> Measured:
        """Try the untouched configuration on the first rung, and return what it reached.

        Raises:
            InputError: it is refused, so that there is nothing to compare with.
            RunError: it diverged.
        """
        self._try([self.first[0]])
        measured = self.known[0, 0]
        if measured.outcome == "refused":
            raise InputError(f"the configuration itself is refused: {measured.why}")
        if measured.outcome == "diverged":
            raise RunError(f"the configuration itself diverged: {measured.why}")
        return measured

    def carry_on(self) -> list[Standing]:
        """Search to the end, and return how the trials of the last rung stand, by number.

        Raises:
            RunError: the untouched configuration did not reach the last rung.
        """
        self._first_rung()
        for rung, count in enumerate(self.ladder.promoted, start=1):
            chosen = in_order(self.standings(rung - 1), self.rules.limits)
            trials = sorted({0, *[stand.measured.trial for stand in chosen if stand.measured.trial][:count]})
            self._run([Ask(trial=trial, rung=rung, point=self.points[trial]) for trial in trials])
        return self.standings(self.ladder.last)

    def standings(self, rung: int) -> list[Standing]:
        """Return how the trials of a rung stand, by number.

        Raises:
            RunError: the untouched configuration failed there.
        """
        baseline = self.known[0, rung]
        if not baseline.ran:
            raise RunError(f"the configuration itself {baseline.outcome} in trial 0: {baseline.why}")
        # Of an interrupted search more is known than has been asked for again by now.
        asked = len(self.points)
        own = [one for (trial, at), one in sorted(self.known.items()) if at == rung and trial < asked]
        return [standing(one, baseline, self.rules) for one in own]

    def _first_rung(self) -> None:
        room = self.ladder.trials
        self._try(self._new(self.first[1:])[: room - len(self.points)])
        size, batch = self.space.size, 0
        while len(self.points) < room and not self.used_up:
            stripped = self._stripped()
            left = min(BATCH, room - len(self.points))
            if stripped:
                wanted = stripped[:left]
            elif size is not None and size <= room:
                wanted = self._new(filter(self.possible, self.space.points()))[: room - len(self.points)]
            else:
                wanted = self._asked(left, batch)
                batch += 1
            self.used_up = not wanted
            self._try(wanted)

    def _asked(self, count: int, batch: int) -> list[Point]:
        there = {self.same(point) for point in self.points}
        told = [
            (stand.measured.point, stand)
            for stand in self.standings(0)
            if stand.measured.ran and self.space.holds(stand.measured.point)
        ]
        return next_points(
            self.space,
            told,
            self.rules,
            count=count,
            batch=batch,
            seed=self.ladder.seed,
            is_new=lambda point: self.possible(point) and self.same(point) not in there,
        )

    def _stripped(self) -> list[Point]:
        """Return trials without the defenses of theirs that change nothing, as far as these were not tried."""
        if self.without is None:
            return []
        of_first = [self.known[trial, 0] for trial in range(len(self.points))]
        return self._new([self.without(one.point, one.inactive) for one in of_first if one.inactive and one.point])

    def _new(self, points: Iterable[Point]) -> list[Point]:
        there = {self.same(point) for point in self.points}
        found: list[Point] = []
        for point in points:
            if (key := self.same(point)) not in there:
                there.add(key)
                found.append(point)
        return found

    def _try(self, points: Sequence[Point]) -> None:
        """Try further points on the first rung."""
        start = len(self.points)
        self.points += points
        self._run([Ask(trial=start + at, rung=0, point=point) for at, point in enumerate(points)])

    def _run(self, asks: Sequence[Ask]) -> None:
        """Try what is not known yet.

        Raises:
            InputError: what is known is of other points.
        """
        for ask in asks:
            known = self.known.get((ask.trial, ask.rung))
            if known is not None and dict(known.point) != dict(ask.point):
                raise InputError(
                    f"trial {ask.trial} on rung {ask.rung} was of another point than it is now: the folder is of "
                    "another search, or another version of Optuna; choose another --out"
                )
        missing = [ask for ask in asks if (ask.trial, ask.rung) not in self.known]
        if not missing:
            return
        self.evaluate(missing, self._take)
        unheard = [ask.trial for ask in missing if (ask.trial, ask.rung) not in self.known]
        if unheard:
            raise RunError(f"trial {unheard[0]} was not tried to its end: --resume goes on with it")

    def _take(self, measured: Measured) -> None:
        self.keep(measured)
        self.known[measured.trial, measured.rung] = measured


def by_number(measured: Sequence[Measured]) -> Mapping[tuple[int, int], Measured]:
    """Return what was measured by trial and rung.

    Raises:
        InputError: something is there twice.
    """
    found: dict[tuple[int, int], Measured] = {}
    for one in measured:
        if (one.trial, one.rung) in found:
            raise InputError(f"trial {one.trial} on rung {one.rung} is there twice")
        found[one.trial, one.rung] = one
    return found
