"""Runs compared with each other: groups that differ by seed alone, in settings whose figures may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dtfl_private.report.comparison.exposure import Exposure
from dtfl_private.report.comparison.means import Mean, mean_of, mean_to_target
from dtfl_private.report.comparison.runs import AxisName, Leakage, RunFigures
from dtfl_private.report.comparison.tuned_settings import TunedSettings
from dtfl_private.report.notebook.comparison import comparison_html, comparison_text


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ by their seeds alone.

    name: how tables and pictures call it. settings: what its runs share, by configuration key. tuned: the trials by
    which settings were chosen, if they were.
    """

    name: str
    settings: Mapping[str, Any]
    runs: Sequence[RunFigures]
    tuned: TunedSettings | None = None

    @property
    def reached(self) -> int:
        """Number of runs that reached the target."""
        return sum(run.course.to_target(run.target)["rounds"] is not None for run in self.runs)

    def accuracy(self, which: Literal["final_accuracy", "best_accuracy"]) -> Mean:
        """Return the mean final or best test accuracy."""
        return mean_of([getattr(run, which) for run in self.runs])

    @property
    def regret(self) -> Mean:
        """The mean regret; None if a run has none."""
        regrets = [run.regret for run in self.runs if run.regret is not None]
        return mean_of(regrets) if len(regrets) == len(self.runs) else Mean(mean=None)

    @property
    def leakages(self) -> list[Leakage]:
        """What the audits found of those runs that were audited."""
        return [run.leakage for run in self.runs if run.leakage is not None]

    @property
    def exposures(self) -> list[Exposure]:
        """What those runs gave away that were audited."""
        return [run.exposure for run in self.runs if run.exposure is not None]

    def to_target(self, axis: AxisName) -> Mean:
        """Return the mean expense to the target; without a target there is neither mean nor bound."""
        if self.runs[0].target is None:
            return Mean(mean=None)
        expenses = [run.course.to_target(run.target)[axis] for run in self.runs]
        return mean_to_target(expenses, [run.course.total[axis] for run in self.runs])


@dataclass(frozen=True, kw_only=True)
class ComparisonSetting:
    """Groups on one footing: the same data, environment and target, so that their figures may be compared.

    name: what sets it apart from the comparison's other settings; empty if it is the only one.
    about: what all settings have in common: network, data, clients.
    """

    name: str
    about: str
    target: float | None
    groups: Sequence[Group]
    baseline: Group | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs compared with each other, setting by setting, and what a reader must know of them."""

    settings: Sequence[ComparisonSetting]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        return comparison_html(self)
