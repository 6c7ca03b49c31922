"""Attack: from a finished run to what an adversary gets out of it, in numbers and pictures.

run -> plan of jobs -> guesses, judged by the ground truth -> attack.json, pictures
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import Job, LeftOut
from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.guessing import baselines, judged_guesses
from dtfl_private.attacking.ladder import ladder_of
from dtfl_private.attacking.parallel import guess_in_processes
from dtfl_private.attacking.scoring.against_ladder import compared_with_ladder
from dtfl_private.attacking.scoring.pictures import save_pictures
from dtfl_private.attacking.scoring.results_file import RESULTS, remarks, with_undefended, write_results
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.attacking.scoring.token_pieces import text_lines
from dtfl_private.attacking.tiers import target_at
from dtfl_private.attacking.victims.recorded_rounds import latest_recordings
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.attacking.victims.undefended_run import TRAIN, undefended_folder
from dtfl_private.data.from_python import given_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder, locked, require_no_links
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.files.writing import output_path, require_usable
from dtfl_private.leakage.results.result import Result
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.report.notebook.audit import attack_html, attack_text
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import deterministic_kernels, device_on, one_thread
from dtfl_private.runtime.executor_choice import LOCAL, require_names
from dtfl_private.runtime.executors import cluster_kept


@dataclass(frozen=True, kw_only=True)
class AttackReport:
    """What attacks found.

    Attributes:
        results: of this call.
        verdicts: per attack and tier, with guesses and scores.
        path: attack.json.
        pictures: PNG files.
        remarks: lines that belong to the results: whose records were attacked, with what knowledge.
        left_out: attacks that cannot run here, if the configuration lets them be left out.
        undefended: the same attacks on the undefended run, if that was asked for.
    """

    results: Sequence[Result]
    verdicts: Sequence[Verdict]
    path: Path
    pictures: Sequence[Path]
    remarks: Sequence[str]
    left_out: Sequence[LeftOut] = ()
    undefended: "AttackReport | None" = None

    def __repr__(self) -> str:
        return attack_text(self.results, self.path)

    def _repr_html_(self) -> str:
        return attack_html(self.results, self.path)


def attack(
    run: Run | RunFolder | Path | str,
    config: AttackConfig | None = None,
    *,
    attacks: Sequence[Attack] | None = None,
    out: Path | str | None = None,
    dataset: object = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    data_dir: Path | str | None = None,
    allow_plugins: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
    pictures: bool = True,
) -> AttackReport:
    """Attack a finished run and leave attack.json.

    Args:
        run: a run, or its folder.
        config: what to attack and how.
        attacks: attacks as objects, instead of those that the configuration names.
        out: folder to write to; by default ``attacks`` in the run folder. Results of other attacks that are there stay.
        dataset: what `train` was given as an object.
        model: likewise.
        scheduler: likewise.
        defenses: likewise.
        data_dir: where the run's data are now, if they have moved.
        allow_plugins: modules whose objects the run's configuration may name (``package.module:function``).
        callbacks: hear how the attacks proceed.
        pictures: also draw what was reconstructed.

    Raises:
        InputError: wrong input, or an attack that cannot run here; nothing was attacked.
        RunError: the run is damaged, or an attack failed; finished guesses are cached.
    """
    with told(callbacks) as listener, deterministic_kernels(), one_thread():
        config = config or AttackConfig()
        config = config.model_copy(update={"device": device_on(config.executor, config.device)})
        objects = RunObjects(dataset=given_dataset(dataset), model=model, scheduler=scheduler, defenses=defenses)
        by_name = attacks is None and not objects
        require_names(config.executor, by_name=by_name)
        opened = open_run(run, data_dir=data_dir, objects=objects, allow_plugins=allow_plugins)
        plan = _plan(opened, config, attacks, opened.folder.attacks if out is None else output_path(out))
        with _own_folder(plan), cluster_kept(config.executor):
            counterpart = _undefended_plan(plan, listener, by_name=by_name)
            if counterpart is None:
                return _carry_out(plan, listener, by_name=by_name, pictures=pictures)
            with _own_folder(counterpart):
                undefended = _carry_out(counterpart, listener, by_name=by_name, pictures=pictures)
            return _carry_out(plan, listener, by_name=by_name, pictures=pictures, undefended=undefended)


def _plan(opened: OpenedRun, config: AttackConfig, attacks: Sequence[Attack] | None, folder: Path) -> AttackPlan:
    require_no_links(opened.folder)
    require_usable(folder)
    return plan_attack(opened, config, attacks, folder)


@contextmanager
def _own_folder(plan: AttackPlan) -> Iterator[None]:
    """Make the folder that the attacks write to, and keep others from writing there."""
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder '{plan.folder}' cannot be made: {error.strerror}") from None
    with locked(RunFolder(path=plan.folder)):
        yield


def _carry_out(
    plan: AttackPlan, listener: Callback, *, by_name: bool, pictures: bool, undefended: AttackReport | None = None
) -> AttackReport:
    """Attack an opened run, and write down what comes of it.

    Args:
        plan: the attacks.
        listener: hears how they proceed.
        by_name: all attacks and all parts of the run have names, so that other processes find them.
        pictures: whether to draw them.
        undefended: what the same attacks reached without the run's defenses.
    """
    listener.jobs_announced(plan.labels)
    elsewhere = plan.config.workers > 1 or plan.config.executor != LOCAL
    told = guess_in_processes(plan, listener) if elsewhere and by_name else frozenset()
    verdicts = judged_guesses(plan, listener, told)
    found = [*baselines(plan), *(result for verdict in verdicts for result in verdict.results)]
    results = with_undefended(found, [] if undefended is None else undefended.results)
    known = write_results(plan, results, listener)
    return AttackReport(
        results=results,
        verdicts=verdicts,
        path=plan.folder / RESULTS,
        pictures=save_pictures(plan.folder, verdicts, known) if pictures else [],
        remarks=[
            *text_lines(verdicts, plan.opened.vocabulary),
            *_against(plan, verdicts),
            *remarks(plan),
        ],
        left_out=plan.left_out,
        undefended=undefended,
    )


def _against(plan: AttackPlan, verdicts: Sequence[Verdict]) -> list[str]:
    """Return how the attacks compare with the ladder's, if that was asked for, and which of these cannot run."""
    if plan.config.against is None:
        return []
    ladder = ladder_of(plan.opened.prepared.method, whole=plan.opened.whole_tier in plan.opened.tiers)
    rungs = {rung for goal in ladder.values() for rung in goal}
    outside = {job.chosen.name for job in plan.jobs} - rungs
    missing = {one.attack: one.why for one in plan.left_out if one.attack in rungs}
    return [*compared_with_ladder(verdicts, outside), *(f"not in the ladder here: {why}" for why in missing.values())]


def _undefended_plan(plan: AttackPlan, listener: Callback, *, by_name: bool) -> AttackPlan | None:
    """Return the same attacks on the same run without its defenses, if that is asked for and any can run there."""
    jobs = [] if plan.config.undefended is None else _undefended_jobs(plan, listener)
    if not jobs:
        return None
    opened = _open_undefended(plan, listener)
    chosen = {job.chosen.text: job.chosen.attack for job in jobs}
    changes: dict[str, Any] = {"undefended": None, "tiers": tuple(sorted({job.tier for job in jobs}))}
    if by_name:
        changes["attacks"] = tuple(chosen)
    recorded = () if plan.config.replay else latest_recordings(opened)
    if recorded and not set(changes["tiers"]) <= {one.seen.download.tier for one in recorded}:
        changes["replay"] = True  # where clients were deployed, they had the tiers that their real speed gave them
    config = plan.config.model_copy(update=changes)
    return _plan(opened, config, None if by_name else list(chosen.values()), opened.folder.attacks)


def _open_undefended(plan: AttackPlan, listener: Callback) -> OpenedRun:
    """Open the same run without its defenses; it is trained first if that is asked for."""
    opened, where = plan.opened, plan.config.undefended
    assert where is not None
    if where == TRAIN:
        listener.note("training the same run without defenses")
    folder = undefended_folder(opened, where, plan.folder / "undefended", executor=plan.config.executor)
    listener.note(f"the same attacks on the undefended run {folder.path}")
    return open_run(
        folder,
        objects=opened.objects.undefended(),
        data_dir=opened.prepared.config.data_dir,
        allow_plugins=opened.prepared.config.allowed,
    )


def _undefended_jobs(plan: AttackPlan, listener: Callback) -> list[Job]:
    """Return the jobs that a run without defenses can be attacked by too; of the others it is said once each."""
    found, said = [], set()
    for job in plan.jobs:
        try:
            job.chosen.attack.check(target_at(plan.opened, job.tier, defended=False))
        except InputError as error:
            if job.chosen.name not in said:
                listener.note(f"{job.chosen.name} has no undefended counterpart: {error}")
            said.add(job.chosen.name)
        else:
            found.append(job)
    return found
