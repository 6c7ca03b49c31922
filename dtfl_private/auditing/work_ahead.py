"""Work ahead: what the steps after the attacks compute is done in processes, side by side; the steps find it cached.

Each of these steps is a job or a few of them: one step after the other would leave a machine's other cores idle.
"""

from dtfl_private.attacking.parallel import GuessTask, HeardEvents, carry_out
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.auditing.attack_as_scheduled import scheduled_tasks
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.auxiliary_curve import curve_tasks
from dtfl_private.auditing.by_client import by_client_tasks
from dtfl_private.auditing.convergence_check import convergence_tasks
from dtfl_private.auditing.measuring import MeasureTask, measure_in_process, measure_tasks
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executor_choice import parse_executor
from dtfl_private.runtime.jobs import OnCluster, Report, run_jobs
from dtfl_private.runtime.progress import Relabelled


def work_ahead(plan: AuditPlan, training: AttackedTraining, report: AttackReport, progress: Callback) -> Callback:
    """Let processes do what the steps after the attacks need, and return who hears of these steps then.

    Nothing is done where one process is to do all, where the audit's parts have no names by which others find them, or
    where all guesses are cached.

    Args:
        plan: of the audit.
        training: the run itself, and the same without defenses.
        report: of the attacks on it, which tells what the steps will mount.
        progress: hears of the jobs, here or in the steps.

    Raises:
        RunError: a job failed, or its process died; what was finished is cached.
    """
    cluster = OnCluster.of(parse_executor(plan.config.executor), plan.folder)
    if (plan.workers == 1 and cluster is None) or not plan.by_name:
        return progress
    guesses = [
        *convergence_tasks(plan, report),
        *curve_tasks(plan, report),
        *by_client_tasks(plan, report),
        *scheduled_tasks(plan, report),
    ]
    if not guesses:
        return progress
    tasks = [*guesses, *measure_tasks(plan, training)]
    heard = HeardEvents(progress)
    run_jobs(_do, tasks, min(plan.workers, len(tasks)), heard, cluster)
    return Relabelled(progress, lambda job: None if job in heard.finished else job)


def _do(task: GuessTask | MeasureTask, report: Report) -> None:
    """Do a task; this is what a process does."""
    if isinstance(task, GuessTask):
        carry_out(task, report)
    else:
        measure_in_process(task, report)
