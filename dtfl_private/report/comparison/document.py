"""A comparison as JSON: compare.json."""

from collections.abc import Sequence
from typing import Any

from dtfl_private.report.comparison.exposure import GOALS, Exposure, Reached, labels_reached, reached
from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting, Group
from dtfl_private.report.comparison.means import CONFIDENCE, Mean, mean_of
from dtfl_private.report.comparison.runs import AXES, TO_TARGET, Leakage, RunFigures
from dtfl_private.report.comparison.speedups import speedup
from dtfl_private.report.comparison.tuned_settings import TunedSettings

SCHEMA_VERSION = 1


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return what compare.json holds: ``runs`` one by one, ``methods`` as means over seeds, ``notes``.

    Both lists name each entry's ``setting``, which is empty if all runs are on one footing. A figure that is not known
    is null.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "confidence": CONFIDENCE,
        "runs": [
            _run(run, group, setting)
            for setting in comparison.settings
            for group in setting.groups
            for run in group.runs
        ],
        "methods": [_group(group, setting) for setting in comparison.settings for group in setting.groups],
        "notes": list(comparison.notes),
    }


def _run(run: RunFigures, group: Group, setting: ComparisonSetting) -> dict[str, Any]:
    to_target, total = run.course.to_target(run.target), run.course.total
    return {
        "run": run.run,
        "setting": setting.name,
        "group": group.name,
        "method": group.settings["method"],
        "scheduler": group.settings["scheduler"],
        "seed": run.seed,
        "finished": run.finished,
        "target_accuracy": run.target,
        **{TO_TARGET[axis]: _whole(to_target[axis], axis) for axis in AXES},
        "final_accuracy": run.final_accuracy,
        "best_accuracy": run.best_accuracy,
        "total": {axis: _whole(total[axis], axis) for axis in AXES},
        "idle_s": dict(run.idle_s),
        "idle_s_per_client": run.idle_s_per_client,
        "idle_share": run.idle_share,
        "regret": run.regret,
        "leakage": None if run.leakage is None else _leakage(run.leakage),
        "exposure": None if run.exposure is None else _exposure([run.exposure]),
    }


def _leakage(leakage: Leakage) -> dict[str, Any]:
    return {
        "metric": leakage.metric,
        "low": leakage.low,
        "high": leakage.high,
        "by_tier": {
            str(result.tier): {
                "attack": result.source,
                "value": result.value,
                "ci_low": result.ci_low,
                "ci_high": result.ci_high,
            }
            for result in leakage.strongest
        },
    }


def _exposure(exposures: Sequence[Exposure]) -> dict[str, Any]:
    """Return what audited runs gave away: of each goal the most exposed tier, labels, what was sent."""
    return {
        "accuracy": sum(one.accuracy for one in exposures) / len(exposures),
        "audited": len(exposures),
        "goals": {metric.name: _reached(reached(exposures, metric.name)) for metric in GOALS},
        "labels_in_clear": any(one.labels_in_clear for one in exposures),
        "labels": _reached(labels_reached(exposures)),
        "sent": list(dict.fromkeys(kind for one in exposures for kind in one.sent)),
        "verdicts": [one.level for one in exposures],
        "converged": [one.converged for one in exposures],
    }


def _reached(found: Reached | None) -> dict[str, Any] | None:
    if found is None:
        return None
    figures = {"value": found.value, "ci_low": found.low, "ci_high": found.high, "baseline": found.guess}
    return {**figures, "tiers": list(found.tiers), "attacks": list(found.attacks)}


def _whole(value: float | None, axis: str) -> float | int | None:
    return value if value is None or axis == "time_s" else round(value)


def _group(group: Group, setting: ComparisonSetting) -> dict[str, Any]:
    factor = speedup(group, setting.baseline)
    return {
        "name": group.name,
        "setting": setting.name,
        "method": group.settings["method"],
        "scheduler": group.settings["scheduler"],
        "tuned": None if group.tuned is None else _tuned(group.tuned),
        "seeds": [run.seed for run in group.runs],
        "n": len(group.runs),
        "target_accuracy": setting.target,
        "reached": group.reached,
        **{TO_TARGET[axis]: _mean(group.to_target(axis)) for axis in AXES},
        "final_accuracy": _mean(group.accuracy("final_accuracy")),
        "best_accuracy": _mean(group.accuracy("best_accuracy")),
        "idle_s_per_client": _mean(mean_of([run.idle_s_per_client for run in group.runs])),
        "idle_share": _mean(mean_of([run.idle_share for run in group.runs])),
        "regret": _mean(group.regret),
        "leakage": _leakage_of(group.leakages),
        "exposure": _exposure(group.exposures) if group.exposures else None,
        "baseline": None if setting.baseline is None else setting.baseline.name,
        "speedup": factor.value,
        "speedup_at_least": factor.at_least,
        "speedup_at_most": factor.at_most,
        "speedup_low": factor.low,
        "speedup_high": factor.high,
    }


def _tuned(tuned: TunedSettings) -> dict[str, Any]:
    """Return the chosen settings, and what all trials reached."""
    trials = [outcome.as_json() for outcome in tuned.trials]
    return {"settings": dict(tuned.choice.settings), "chosen": tuned.chosen, "trials": trials}


def _leakage_of(leakages: Sequence[Leakage]) -> dict[str, Any] | None:
    if not leakages:
        return None
    return {
        "metric": leakages[0].metric,
        "low": min(leakage.low for leakage in leakages),
        "high": max(leakage.high for leakage in leakages),
        "audited": len(leakages),
    }


def _mean(mean: Mean) -> dict[str, float | None]:
    return {"mean": mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high, "at_least": mean.at_least}
