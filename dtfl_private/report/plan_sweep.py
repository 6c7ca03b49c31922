"""The figures of a sweep without training: how long rounds last, and how often the tier is the oracle's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from dtfl_private.report.comparison.means import Mean, mean_of

Figure = Literal["regret", "speedup", "tier_accuracy", "time_s"]


@dataclass(frozen=True, kw_only=True)
class PlanPoint:
    """One planned run.

    Attributes:
        values: of the keys that vary between runs.
        seed: of its chance.
        time_s: simulated seconds of all rounds.
        regret: by what share they last longer than with the oracle's tiers.
        tier_accuracy: share of participations in the tier that the oracle would have given.
        speedup: time of the method that the sweep is held against / time; None where it is held against none.
    """

    values: Mapping[str, Any]
    seed: int
    time_s: float
    regret: float
    tier_accuracy: float
    speedup: float | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line: the same in all but ``x`` and the seed; its means run over the seeds."""

    values: Mapping[str, Any]
    points: Sequence[PlanPoint]
    x: str
    main: Figure = "regret"

    @cached_property
    def xs(self) -> list[Any]:
        """The values of ``x``, ascending."""
        return sorted({point.values[self.x] for point in self.points})

    def at(self, x: Any, figure: Figure) -> list[float]:
        """Return a figure of all seeds at a value of ``x``, in the seeds' order."""
        own = sorted((point for point in self.points if point.values[self.x] == x), key=lambda point: point.seed)
        return [getattr(point, figure) for point in own]

    def mean(self, x: Any, figure: Figure) -> Mean:
        """Return the mean of a figure with its interval."""
        return mean_of(self.at(x, figure))

    def best(self) -> Any:
        """Return the value of ``x`` with the least mean regret, or the largest speed-up."""
        return min(self.xs, key=lambda x: self._sign * (self.mean(x, self.main).mean or 0.0))

    def gained(self, reference: Any, x: Any) -> Mean:
        """Return how much regret ``x`` saves against the reference, or speed-up it adds: differences at equal seeds."""
        pairs = zip(self.at(reference, self.main), self.at(x, self.main), strict=True)
        return mean_of([self._sign * (theirs - own) for theirs, own in pairs])

    @property
    def _sign(self) -> int:
        return 1 if self.main == "regret" else -1


@dataclass(frozen=True, kw_only=True)
class PlanSweep:
    """All planned runs of a preset, and how they are arranged.

    Attributes:
        title: what they show.
        x: the key on the horizontal axis.
        reference: its value that others are held against.
        panels: the keys of rows and columns of panels.
        points: one for each run.
        against: the method that speed-ups are over; None: none, and regret is what is shown.
    """

    title: str
    x: str
    reference: Any
    panels: tuple[str, str]
    points: Sequence[PlanPoint]
    against: str | None = None

    @property
    def main(self) -> Figure:
        """What is shown first: regret, or speed-up."""
        return "regret" if self.against is None else "speedup"

    @cached_property
    def curves(self) -> list[Curve]:
        """All lines, in the order of the runs."""
        found: dict[tuple[Any, ...], list[PlanPoint]] = {}
        for point in self.points:
            found.setdefault(tuple(point.values[key] for key in self.apart), []).append(point)
        return [
            Curve(values=dict(zip(self.apart, key, strict=True)), points=own, x=self.x, main=self.main)
            for key, own in found.items()
        ]

    @property
    def apart(self) -> list[str]:
        """The keys that set lines apart: those of the panels first."""
        others = [key for key in self.points[0].values if key not in (self.x, *self.panels)]
        return [*self.panels, *others]

    def panel_mean(self, row: Any, column: Any, x: Any) -> Mean:
        """Return the mean in a panel at a value of ``x``: over its lines for each seed, then over the seeds."""
        own = [curve for curve in self.curves if [curve.values[key] for key in self.panels] == [row, column]]
        by_seed = zip(*(curve.at(x, self.main) for curve in own), strict=True)
        return mean_of([sum(found) / len(own) for found in by_seed])

    def against_reference(self, x: Any) -> tuple[int, int]:
        """Return in how many lines ``x`` is better than the reference, and in how many worse.

        Counted are lines in which the 95 % interval of the differences at equal seeds is on one side of 0: by chance
        alone one in 40 is on either side.
        """
        gained = [curve.gained(self.reference, x) for curve in self.curves]
        less = sum(mean.ci_low is not None and mean.ci_low > 0 for mean in gained)
        return less, sum(mean.ci_high is not None and mean.ci_high < 0 for mean in gained)

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({point.seed for point in self.points})

    def document(self) -> dict[str, Any]:
        """Return all figures for programs."""
        return {
            "title": self.title,
            "x": self.x,
            "reference": self.reference,
            "panels": list(self.panels),
            **({} if self.against is None else {"against": self.against}),
            "points": [
                {
                    **point.values,
                    "seed": point.seed,
                    "time_s": point.time_s,
                    "regret": point.regret,
                    "tier_accuracy": point.tier_accuracy,
                    **({} if self.against is None else {"speedup": point.speedup}),
                }
                for point in self.points
            ],
        }
