"""From a leakage budget to the tiers that a run may use: read once at the start, explicit ever after."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.plugin_fields import OBJECT
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.cost_tables import tiers_in_use
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.leakage.results.result import Result
from dtfl_private.plugins.installed import find
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import is_object_path, without_rule
from dtfl_private.protection.base import Defense
from dtfl_private.protection.wire_format import FINENESS, SCHEDULED
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.training.method import Method
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.findings_file import read_findings
from dtfl_private.verdicts.leakage_budget import LeakageBudget
from dtfl_private.verdicts.tiers_within_budget import counted, require_valid, tiers_within

SAME = ("dataset", "model", "norm", "defense")
"""What must be the same in the audited run and in the one to be trained, by key of the configuration."""

ON_RECORD = {"leakage_budget": "allowed_tiers", "leakage_from": "tier_leakage"}
"""Keys of the configuration that name an audit, and where stands what was read in it."""

UNLIMITED = dict.fromkeys((*ON_RECORD, *ON_RECORD.values(), "exposure_budget"))
"""What to replace in a configuration for a run whose tiers nothing limits."""

DEPENDS_ON = (*SAME, "wire", "precision")
"""Keys of the configuration on which it depends whether an audit is of a run like this; a finer wire tells more."""


@dataclass(frozen=True, kw_only=True)
class AuditedTiers:
    """A leakage budget and the audit it refers to, which is one of a run like this."""

    budget: LeakageBudget
    findings: Findings

    def allowed(self, table: TierTable, *, same_images: bool = True) -> tuple[int, ...]:
        """Return the tiers of the table that are within the budget, ascending.

        Args:
            table: of the tiers in use.
            same_images: whether the table is of the audited images' shape; if so, the cuts must agree.

        Raises:
            InputError: none is, or a cut has another shape in the audit.
        """
        allowed = tiers_within(self.budget, self.findings, table.tiers_M.tolist())
        if same_images:
            require_same_cuts(self.budget.audit, counted(self.findings.judged, self.budget.metric), table.only(allowed))
        return allowed

    def notes(self, table: TierTable) -> list[str]:
        """Return what to say of tiers that the audit did not measure."""
        return not_measured(self.budget.audit, self.findings, self.budget.metric, table)


def open_budget(config: TrainConfig, method: Method, own: Mapping[str, Any]) -> AuditedTiers | None:
    """Return what limits a run's tiers, checked against the run; None without a budget, or if its tiers are known.

    Args:
        config: of the run; with ``allowed_tiers`` its budget is on record only, and the audit is not read.
        method: of the run.
        own: what is known of the run among `SAME`, and its ``wire``, as `named_format` has it; defenses as
            specifications.

    Raises:
        InputError: the method has no tiers, the audit cannot be read, is invalid, or is of another kind of run.
    """
    limited = config.leakage_budget or config.allowed_tiers
    if limited and not method.tiered:
        key = "leakage_budget" if config.leakage_budget else "allowed_tiers"
        raise InputError(f"method {config.method.partition(':')[0]} has no tiers to choose from: leave {key} out")
    if config.leakage_budget is None or config.allowed_tiers is not None:
        return None
    budget = LeakageBudget.parse(config.leakage_budget)
    return AuditedTiers(budget=budget, findings=findings_of_same_kind(budget.audit, own, config.assume))


def limit_tiers(
    config: TrainConfig,
    network: TierTable,
    audited: AuditedTiers | None,
    model: str,
    *,
    floor: int = 1,
    same_images: bool = True,
) -> tuple[TrainConfig, TierTable]:
    """Return the configuration with the tiers that the audit allows, and the table of those it could allow.

    Args:
        config: of a run with tiers.
        network: cost table of all tiers.
        audited: from `open_budget`; without it the configuration stays as it is.
        model: name of the network.
        floor: the shallowest tier that the clients accept.
        same_images: see `AuditedTiers.allowed`.

    Raises:
        InputError: no tier is within the budget, or the network has fewer tiers than asked for.
    """
    table = tiers_in_use(network, config.model_copy(update=UNLIMITED), model)
    table = table.only([tier for tier in table.tiers_M.tolist() if tier >= floor])
    # Below a floor beyond all tiers there is nothing to choose from; who applies the floor says so.
    if audited is not None and table.rows:
        allowed = audited.allowed(table, same_images=same_images)
        config = config.model_copy(update={"allowed_tiers": list(allowed)})
    return config, table


def findings_of_same_kind(audit: Path, own: Mapping[str, Any], assume: Collection[str]) -> Findings:
    """Return what a valid audit of a run like this one has found.

    Args:
        audit: the file.
        own: as for `open_budget`.
        assume: what this run takes for granted of what the server sees.

    Raises:
        InputError: it cannot be read, is invalid, is of another kind of run, or takes more for granted.
    """
    findings = read_findings(audit)
    require_valid(findings, audit)
    _require_same_kind(findings, audit, own)
    _require_no_more_assumed(findings, audit, assume)
    return findings


def require_same_cuts(audit: Path, results: Iterable[Result], table: TierTable) -> None:
    """Raise `InputError` if the results of an audit at tiers of the table are of cuts of other shapes."""
    cuts = {row.tier: row.cut_shape for row in table.rows}
    for result in results:
        if result.cut != cuts.get(result.tier, result.cut):
            raise InputError(
                f"audit {audit} is of another network or other images: tier {result.tier} sends "
                f"{_shape(result.cut)} there, {_shape(cuts[result.tier])} here; audit a run like this one"
            )


def not_measured(audit: Path, findings: Findings, metric: str, table: TierTable) -> list[str]:
    """Return what to say of tiers of the table that an audit did not measure by a metric."""
    known = {result.tier for result in counted(findings.judged, metric)}
    missing = [tier for tier in table.tiers_M.tolist() if tier not in known]
    if not missing:
        return []
    which = f"tier {missing[0]} is" if len(missing) == 1 else f"tiers {tier_names(missing)} are"
    return [f"{which} not measured in {audit} ({metric}), hence not allowed"]


def _require_same_kind(findings: Findings, audit: Path, own: Mapping[str, Any]) -> None:
    audited = {key: getattr(findings.training, key) for key in (*SAME, "wire")}
    different = [key for key in SAME if key in own and _comparable(key, audited[key]) != _comparable(key, own[key])]
    if "wire" in own and _finer(own["wire"], audited["wire"]):
        different.append("wire")
    if different:
        differences = [f"{key} {_shown(audited[key])} there, {_shown(own[key])} here" for key in different]
        raise InputError(
            f"audit {audit} is of another kind of run ({'; '.join(differences)}): audit a run like this one"
        )


def _require_no_more_assumed(findings: Findings, audit: Path, assume: Collection[str]) -> None:
    """Refuse an audit that took for granted what the run does not: it left out attacks that this run is open to."""
    more = [name for name in findings.assumed if name not in assume]
    if more:
        raise InputError(
            f"audit {audit} assumes {', '.join(more)}, which this run does not: audit without it, or train with "
            f"--assume {','.join(more)}"
        )


def _finer(own: str, audited: str | None) -> bool:
    """Whether a run may send smashed data in a finer format than the audit saw, which tells more of the images.

    An audit of scheduled formats may have seen the coarsest of them alone; one without a format is not known to have
    seen more.
    """
    finest = SCHEDULED[-1] if own == "scheduled" else own
    seen = SCHEDULED[0] if audited in (None, "scheduled") else audited
    return FINENESS.index(finest) > FINENESS.index(seen)


def _comparable(key: str, value: Any) -> Any:
    """Return a value of the configuration in the one way that two spellings of it share; guards send nothing."""
    if key == "norm":
        return value
    if key == "defense":
        return [_explicit("defense", text) for text in value if not _only_guards(text)]
    return _explicit(key, value)


def _explicit(kind: str, text: str) -> str:
    """Return a specification with its settings written out; of objects and modules, which are not loaded, as it is."""
    if text.startswith(OBJECT) or is_object_path(kind, text):
        return text
    try:
        return explicit(kind, text)
    except InputError:  # a plug-in that is not installed here
        return text


def _only_guards(text: str) -> bool:
    """Whether an installed defense looks at what the server sends, and changes nothing that a client sends."""
    if text.startswith(OBJECT) or is_object_path("defense", text):
        return False
    try:
        defense = find("defense", without_rule("defense", text)[0].partition(":")[0].strip()).load()
    except InputError:
        return False
    if not (isinstance(defense, type) and issubclass(defense, Defense)):
        return False
    return bool(defense.facts.acts_on) and {"download", "replies"}.issuperset(defense.facts.acts_on)


def _shown(value: object) -> str:
    if value is None:
        return "not recorded"
    return (" + ".join(value) or "none") if isinstance(value, list | tuple) else str(value)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def allowed_line(config: TrainConfig) -> str | None:
    """Return what to say of the tiers that a resolved configuration allows, and why; None without a limit."""
    if config.allowed_tiers is None:
        return None
    reason = "as allowed_tiers says"
    if config.leakage_budget is not None:
        budget = LeakageBudget.parse(config.leakage_budget)
        reason = f"by the leakage budget {budget.rule}, as measured in {budget.audit} (measured, not proven)"
    plural = "s" if len(config.allowed_tiers) > 1 else ""
    whole = ""
    if make_method(config.method, allowed=config.allowed).full_tier:
        whole = "; also the whole network, which sends weights alone (no budget counts what they leak)"
    return f"tier{plural} allowed: {tier_names(config.allowed_tiers)}, {reason}{whole}"
