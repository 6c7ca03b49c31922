"""Time, accuracy, and leakage tier by tier, side by side: of a sweep whose runs were compared and attacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from dtfl_private.report.client_sweep import ClientPoint
from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting, Group
from dtfl_private.report.comparison.means import Mean, mean_of


@dataclass(frozen=True, kw_only=True)
class TierLeakage:
    """What an attack reached on the clients of one run that were placed in one tier.

    Attributes:
        run: the run's name in the sweep.
        attack: as the preset spells it.
        aux: the adversary's auxiliary data, likewise.
        tier: client modules m.
        metric: of ``value``.
        value: mean over the attacked clients.
        guess: the same of the best trivial guess.
    """

    run: str
    attack: str
    aux: str
    tier: int
    metric: str
    value: float
    guess: float


@dataclass(frozen=True, kw_only=True)
class SideBySideRow:
    """Runs that differ by their seeds alone.

    Attributes:
        name: what sets them apart from the others.
        runs: how many there are.
        time_s: simulated seconds to the target accuracy; of the whole run where there is no target.
        accuracy: test accuracy after the last round.
        leakage: mean over the runs, by tier; without tiers that were not attacked.
        guess: likewise of the best trivial guess.
    """

    name: str
    runs: int
    time_s: Mean
    accuracy: Mean
    leakage: Mapping[int, Mean]
    guess: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """All groups of runs of a sweep under one attack.

    Attributes:
        attack, aux, metric: as those of `TierLeakage`.
        targets: the target accuracies of the rows; empty if they have none.
        rows: in the order of the comparison.
    """

    attack: str
    aux: str
    metric: str
    targets: Sequence[float]
    rows: Sequence[SideBySideRow]

    @property
    def tiers(self) -> list[int]:
        """All tiers that were attacked in some row, ascending."""
        return sorted({tier for row in self.rows for tier in row.leakage})


def side_by_side(comparison: Comparison, leakage: Sequence[TierLeakage]) -> list[SideBySide]:
    """Return time, accuracy and leakage of all groups of runs, for each attack, auxiliary data and metric.

    Args:
        comparison: the runs that were compared.
        leakage: what attacks on these runs reached; runs that were not compared are left out.
    """
    kinds = dict.fromkeys((one.attack, one.aux, one.metric) for one in leakage)
    targets = sorted({setting.target for setting in comparison.settings if setting.target is not None})
    pairs = [(setting, group) for setting in comparison.settings for group in setting.groups]
    found = []
    for attack, aux, metric in kinds:
        own = [one for one in leakage if (one.attack, one.aux, one.metric) == (attack, aux, metric)]
        rows = [_row(setting, group, own) for setting, group in pairs]
        found.append(SideBySide(attack=attack, aux=aux, metric=metric, targets=targets, rows=rows))
    return found


def tier_leakage(points: Sequence[ClientPoint]) -> list[TierLeakage]:
    """Return what attacks reached on all clients of a run together, tier by tier; each record counts once."""
    by_run: dict[tuple[str, str, str, int, str], list[ClientPoint]] = {}
    for point in points:
        by_run.setdefault((point.run, point.attack, point.aux, point.tier, point.metric), []).append(point)
    found = []
    for (run, attack, aux, tier, metric), own in by_run.items():
        records = [point.n for point in own]
        value, guess = (
            float(np.average([getattr(point, name) for point in own], weights=records)) for name in ("value", "guess")
        )
        found.append(TierLeakage(run=run, attack=attack, aux=aux, tier=tier, metric=metric, value=value, guess=guess))
    return found


def _row(setting: ComparisonSetting, group: Group, leakage: Sequence[TierLeakage]) -> SideBySideRow:
    names = {PurePath(run.run).name for run in group.runs}
    by_tier: dict[int, list[TierLeakage]] = {}
    for one in leakage:
        if one.run in names:
            by_tier.setdefault(one.tier, []).append(one)
    return SideBySideRow(
        name=_name(setting, group),
        runs=len(group.runs),
        time_s=_time_s(setting, group),
        accuracy=group.accuracy("final_accuracy"),
        leakage={tier: mean_of([one.value for one in by_tier[tier]]) for tier in sorted(by_tier)},
        guess={tier: float(np.mean([one.guess for one in by_tier[tier]])) for tier in sorted(by_tier)},
    )


def _name(setting: ComparisonSetting, group: Group) -> str:
    if setting.name and len(setting.groups) == 1:
        return setting.name
    return f"{setting.name}: {group.name}" if setting.name else group.name


def _time_s(setting: ComparisonSetting, group: Group) -> Mean:
    if setting.target is not None:
        return group.to_target("time_s")
    return mean_of([run.course.total["time_s"] for run in group.runs])
