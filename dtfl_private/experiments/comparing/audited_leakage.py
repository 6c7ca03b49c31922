"""What a run's audit found, for comparing runs: read from its run folder, used only if it is valid and of that run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.leakage.metrics import ACCURACY, SSIM, find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.comparison.exposure import GOALS, Exposure
from dtfl_private.report.comparison.runs import Leakage
from dtfl_private.training.round_record import Record
from dtfl_private.verdicts.findings import LEVELS, Findings, Training
from dtfl_private.verdicts.findings_file import read_findings

SAME = ("dataset", "model", "method", "partition", "scheduler", "clients", "seed", "defense")
"""What must be the same in the audited run and in the one whose folder holds the audit, by key of the configuration."""

SENT: Mapping[str, str] = {
    "up_weights": "weights",
    "up_smashed": "smashed data",
    "up_labels": "labels",
    "up_logits": "logits",
    "down_gradients": "gradients back",
    "down_outputs": "outputs back",
    "up_gradients": "gradients",
}
"""Kinds of data by the key of their bytes in rounds.jsonl."""

LABEL_ATTACKS = "label-"
"""How names of attacks on labels begin."""


@dataclass(frozen=True, kw_only=True)
class RunAudit:
    """What an audit says of a run: SSIM tier by tier, every goal, and why an audit that is there is not used."""

    leakage: Leakage | None = None
    exposure: Exposure | None = None
    remark: str | None = None


def audited_leakage(folder: RunFolder, config: TrainConfig, records: Sequence[Record]) -> RunAudit:
    """Return what the strongest attacks of a run's audit reached, and why an audit that is there is not used.

    Args:
        folder: of the run.
        config: of the run.
        records: its finished rounds, one at least.
    """
    if not folder.audit.exists():
        return RunAudit()
    try:
        findings = read_findings(folder.audit)
    except InputError as error:
        return RunAudit(remark=str(error))
    difference = _difference(findings.training, config, records)
    if difference is not None:
        return RunAudit(remark=f"{folder.audit} is of another run ({difference}): it is not used")
    if not findings.valid:
        failed = ", ".join(check.name for check in findings.sanity if not check.passed) or "unnamed"
        why = f"is invalid (sanity check not passed: {failed}): low leakage in it proves nothing"
        return RunAudit(remark=f"{folder.audit} {why}")
    if impossible := next((one for one in findings.strongest if not _is_possible(one)), None):
        return RunAudit(remark=f"{folder.audit} is damaged: an {_label(impossible)} in it is beyond 1")
    exposure = _exposure(findings, records)
    if not exposure.goals:
        return RunAudit(remark=f"{folder.audit} has no {SSIM.label} of an attack, nor another goal's result")
    results = sorted((one for one in findings.strongest if one.metric == SSIM.name), key=lambda result: result.tier)
    return RunAudit(leakage=Leakage(strongest=tuple(results)) if results else None, exposure=exposure)


def _label(result: Result) -> str:
    return find_metric(result.metric).label


def _is_possible(result: Result) -> bool:
    """Whether a result of a compared goal is within what its metric can be."""
    limits = next((metric.limits for metric in (*GOALS, ACCURACY) if metric.name == result.metric), None)
    return limits is None or limits[0] <= result.value <= limits[1]


def _exposure(findings: Findings, records: Sequence[Record]) -> Exposure:
    """Return what the run gave away where clients really were."""
    used = {tier for record in records for tier in record["tiers"].values()}
    there = [result for result in findings.strongest if result.tier in used]
    of_labels = [
        result
        for result in findings.results
        if result.metric == ACCURACY.name and result.source.startswith(LABEL_ATTACKS) and result.tier in used
    ]
    goals = {metric.name: _highest(one for one in there if one.metric == metric.name) for metric in GOALS}
    levels = [verdict.level for verdict in findings.verdict if verdict.tier in used and verdict.level in LEVELS]
    return Exposure(
        accuracy=records[-1]["test_accuracy"],
        goals={name: result for name, result in goals.items() if result is not None},
        labels=_highest(result for result in of_labels if _is_possible(result)),
        labels_in_clear=_sends(records, "up_labels")
        and any(
            "in clear" in stated.sentence for stated in findings.guarantees if stated.what in ("labels", "smashed")
        ),
        sent=[name for key, name in SENT.items() if _sends(records, key)],
        level=max(levels, key=LEVELS.index, default=None),
        converged=None if findings.convergence is None else findings.convergence.converged,
        terms={
            "preset": findings.preset,
            "effort": str(findings.settings.get("effort")),
            "victims": str(findings.victims),
            "auxiliary knowledge": findings.auxiliary,
            "assumptions": ", ".join(findings.assumed) or "none",
        },
    )


def _highest(results: Iterable[Result]) -> Result | None:
    """Return the most exposing result; all goals expose by high values."""
    return max(results, key=lambda result: result.value, default=None)


def _sends(records: Sequence[Record], key: str) -> bool:
    return any(record["bytes"].get(key, 0) for record in records)


def _difference(training: Training, config: TrainConfig, records: Sequence[Record]) -> str | None:
    """Return what first differs between an audited run and one with these rounds; the folder may have been moved."""
    own = {key: value for key, value in config.model_dump().items() if key in SAME}
    own |= {"defense": tuple(config.defense), "rounds": len(records), "test_accuracy": records[-1]["test_accuracy"]}
    for key in (*SAME, "rounds", "test_accuracy"):
        audited = getattr(training, key)
        if audited != own[key]:
            return f"{key.replace('_', ' ')} {_shown(audited)} there, {_shown(own[key])} here"
    return None


def _shown(value: object) -> str:
    return ("+".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
