"""Attacks on a training at every audited tier, compared with the same attacks on the training without defenses."""

from collections.abc import Sequence

from dtfl_private.attacking.runner import AttackReport, attack
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.files.reading import read_bytes
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import within
from dtfl_private.verdicts.verdict import strongest

LARGEST_PICTURE = 2**28


def attack_training(plan: AuditPlan, training: AttackedTraining, progress: Callback) -> AttackReport:
    """Attack a training, and the same without defenses if there is one."""
    undefended = None if training.undefended is None else str(training.undefended.path)
    return attack(
        training.run,
        plan.attack_config.model_copy(update={"undefended": undefended}),
        attacks=plan.attacks,
        out=training.folder / "attacks",
        data_dir=plan.opened.prepared.config.data_dir,
        allow_plugins=plan.opened.prepared.config.allowed,
        callbacks=[within(progress)],
        **plan.opened.objects.arguments(),
    )


def compared_with_undefended(report: AttackReport) -> list[Result]:
    """Return results with the undefended value; where an attack has none of its own, that of the strongest attack."""
    if report.undefended is None:
        return list(report.results)
    best = {(result.tier, result.metric): result.value for result in strongest(report.undefended.results)}
    return [_with_undefended(result, best.get((result.tier, result.metric))) for result in report.results]


def _with_undefended(result: Result, value: float | None) -> Result:
    if result.undefended is not None or result.adversary is None or value is None:
        return result
    return result.model_copy(update={"undefended": value})


def galleries(report: AttackReport, tiers: Sequence[int]) -> dict[str, bytes]:
    """Return the pictures of reconstructions of an attack report, as PNG files by name, tier by tier."""
    return {
        path.name: read_bytes(path, most_bytes=LARGEST_PICTURE)
        for tier in tiers
        for path in report.pictures
        if path.name.startswith(f"tier-{tier}-")
    }
