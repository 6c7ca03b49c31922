"""What a run's audit found, for comparing runs: read from its run folder, used only if it is valid and of that run."""

from collections.abc import Sequence

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.leakage.metrics import SSIM
from dtfl_private.report.comparison.runs import Leakage
from dtfl_private.training.round_record import Record
from dtfl_private.verdicts.findings import Training
from dtfl_private.verdicts.findings_file import read_findings

SAME = ("dataset", "model", "method", "partition", "scheduler", "clients", "seed", "defense")
"""What must be the same in the audited run and in the one whose folder holds the audit, by key of the configuration."""


def audited_leakage(
    folder: RunFolder, config: TrainConfig, records: Sequence[Record]
) -> tuple[Leakage | None, str | None]:
    """Return what the strongest attacks of a run's audit reached, and why an audit that is there is not used.

    Args:
        folder: of the run.
        config: of the run.
        records: its finished rounds, one at least.
    """
    if not folder.audit.exists():
        return None, None
    try:
        findings = read_findings(folder.audit)
    except InputError as error:
        return None, str(error)
    difference = _difference(findings.training, config, records)
    if difference is not None:
        return None, f"{folder.audit} is of another run ({difference}): it is not used"
    if not findings.valid:
        failed = ", ".join(check.name for check in findings.sanity if not check.passed) or "unnamed"
        return None, f"{folder.audit} is invalid (sanity check not passed: {failed}): low leakage in it proves nothing"
    results = [result for result in findings.strongest if result.metric == SSIM.name]
    if not results:
        return None, f"{folder.audit} has no {SSIM.label} of an attack"
    if not all(-1 <= result.value <= 1 for result in results):
        return None, f"{folder.audit} is damaged: an {SSIM.label} in it is beyond 1"
    return Leakage(strongest=tuple(sorted(results, key=lambda result: result.tier))), None


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
