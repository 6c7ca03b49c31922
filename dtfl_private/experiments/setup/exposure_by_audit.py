"""From an exposure budget and an audit to what a schedule counts: read once at the start, explicit ever after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.tiers_allowed_by_audit import (
    findings_of_same_kind,
    not_measured,
    require_same_cuts,
)
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.exposure import full_round_exposure_KM
from dtfl_private.simulation.exposure_budget import SLACK, ExposureBudget
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.training.method import Method
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.leakage_source import LeakageSource, leakage_text, parse_leakage
from dtfl_private.verdicts.tier_leakage import tier_leakage
from dtfl_private.verdicts.tiers_within_budget import counted


@dataclass(frozen=True, kw_only=True)
class AuditedLeakage:
    """An audit that says what tiers leak, which is one of a run like this."""

    source: LeakageSource
    findings: Findings

    def of_tiers(self, table: TierTable, *, same_images: bool = True) -> str:
        """Return the leakage of the table's tiers that were measured, as ``tier_leakage`` has it.

        Args:
            table: of the tiers in use.
            same_images: whether the table is of the audited images' shape; if so, the cuts must agree.

        Raises:
            InputError: none was measured, or a cut has another shape in the audit.
        """
        audit, metric = self.source.audit, self.source.metric
        if same_images:
            require_same_cuts(audit, counted(self.findings.judged, metric), table)
        leakage = tier_leakage(self.findings.judged, metric)
        in_use = {tier: leakage[tier] for tier in table.tiers_M.tolist() if tier in leakage}
        if not in_use:
            raise InputError(
                f"audit {audit} has no {metric} of an attack that an exposure budget can count at the tiers in use, "
                f"{', '.join(map(str, table.tiers_M.tolist()))}: audit them, or choose another metric"
            )
        return leakage_text(in_use)

    def notes(self, table: TierTable) -> list[str]:
        """Return what to say of tiers that the audit did not measure."""
        return not_measured(self.source.audit, self.findings, self.source.metric, table)


def open_leakage(config: TrainConfig, method: Method, own: Mapping[str, Any]) -> AuditedLeakage | None:
    """Return what says how much tiers leak, checked against the run; None without a budget, or if that is on record.

    Args:
        config: of the run; with ``tier_leakage`` the audit is on record only, and is not read.
        method: of the run.
        own: as for `open_budget`.

    Raises:
        InputError: keys that do not go together, a method without tiers, or an audit that is none of a run like this.
    """
    if config.exposure_budget is None:
        for key in ("leakage_from", "tier_leakage"):
            if getattr(config, key) is not None:
                raise InputError(f"{key} is of use to an exposure budget alone: give exposure_budget too")
        return None
    if not method.tiered:
        name = config.method.partition(":")[0]
        raise InputError(f"method {name} has no tiers to choose from: leave exposure_budget out")
    if config.tier_leakage is not None:
        return None
    if config.leakage_from is None:
        raise InputError(
            f"exposure_budget {config.exposure_budget:g} needs to know what each tier leaks: add leakage_from, the "
            "audit.json of a run like this one, or tier_leakage"
        )
    source = LeakageSource.parse(config.leakage_from)
    return AuditedLeakage(source=source, findings=findings_of_same_kind(source.audit, own, config.assume))


def with_leakage(
    config: TrainConfig, leaking: AuditedLeakage | None, table: TierTable, *, same_images: bool = True
) -> TrainConfig:
    """Return the configuration with the leakage that the audit measured at the tiers in use, where it is read.

    ``table`` and ``same_images`` are as `limit_tiers` has them.
    """
    if leaking is None or not table.rows:  # below a floor beyond all tiers; who applies the floor says so
        return config
    left = table if config.allowed_tiers is None else table.only(config.allowed_tiers)
    return config.model_copy(update={"tier_leakage": leaking.of_tiers(left, same_images=same_images)})


def exposure_budget(config: TrainConfig, table: TierTable) -> ExposureBudget | None:
    """Return what each client may expose, by the run's cost table; who sends no activations exposes nothing."""
    if config.exposure_budget is None or config.tier_leakage is None:
        return None
    leakage = parse_leakage(config.tier_leakage)
    leakage_M = [leakage[row.tier] if row.smashed_bytes else 0.0 for row in table.rows]
    return ExposureBudget(
        most=config.exposure_budget,
        leakage_M=np.array(leakage_M),
        rounds=config.rounds,
        spending=config.exposure_spending,
    )


def require_one_round(settings: ScheduleSettings) -> None:
    """Return if every client can take part in one round at least.

    Raises:
        InputError: one cannot; what would do is named.
    """
    budget = settings.exposure
    if budget is None:
        return
    least_K = full_round_exposure_KM(settings, budget).min(axis=1)
    if least_K.max() <= budget.limit:
        return
    client, least = int(least_K.argmax()), float(least_K.max())
    tier = int(settings.table.tiers_M[budget.leakage_M.argmin()])
    raise InputError(
        f"exposure budget {budget.most:g} is too small for a single round of client {client}, which exposes "
        f"{_up(least)} in tier {tier}, its least exposing one: {_up(least)} lets all take part in one round, "
        f"{_up(least * budget.rounds)} in all {budget.rounds}"
    )


def exposure_notes(settings: ScheduleSettings) -> list[str]:
    """Return what to say at the start of a budget that does not last for all rounds."""
    budget = settings.exposure
    if budget is None:
        return []
    whole = float(full_round_exposure_KM(settings, budget).min(axis=1).max()) * budget.rounds * settings.fraction
    if whole <= budget.limit:
        return []
    about = "" if settings.fraction == 1 else "about "
    return [
        f"exposure budget {budget.most:g} does not last: clients rest when they have spent theirs; {about}{_up(whole)} "
        f"lasts for all {budget.rounds} rounds"
    ]


def exposure_line(config: TrainConfig) -> str | None:
    """Return what to say of the exposure budget of a resolved configuration; None without one."""
    if config.exposure_budget is None or config.tier_leakage is None:
        return None
    shown = ", ".join(f"tier {tier}: {value:.3g}" for tier, value in parse_leakage(config.tier_leakage).items())
    measured = "as tier_leakage says"
    if config.leakage_from is not None:
        source = LeakageSource.parse(config.leakage_from)
        measured = f"by {source.metric} as measured in {source.audit} (measured, not proven)"
    budget = f"exposure budget {config.exposure_budget:g} for each client, {config.exposure_spending}"
    return f"{budget}; a release leaks {shown}, {measured}"


def _up(value: float) -> str:
    """Return a number that is no less, in at most four digits."""
    shown = f"{value:.4g}"
    return shown if float(shown) >= value * (1 - SLACK) else f"{value * 1.0005:.4g}"
