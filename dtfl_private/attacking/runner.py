"""Attack: from a finished run to what an adversary gets out of it, in numbers and pictures.

attacks x tiers x seeds -> scene -> view -> guess (kept on disk) -> judged by the ground truth -> attack.json, pictures
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.jobs import Job, LeftOut, target_at
from dtfl_private.attacking.parallel import mount_side_by_side
from dtfl_private.attacking.pictures import save_pictures
from dtfl_private.attacking.replay import OpenedRun, open_run
from dtfl_private.attacking.scoring import Verdict
from dtfl_private.attacking.session import Session
from dtfl_private.attacking.undefended_run import TRAIN, undefended_folder
from dtfl_private.data.dataset import Dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder import RunFolder, locked, require_no_links
from dtfl_private.experiments.train import Run
from dtfl_private.files.writing import output_path, path_text, require_usable, write_atomic
from dtfl_private.leakage.result import Result, read_results, read_round, results_document
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.progress import Progress

RESULTS = "attack.json"


@dataclass(frozen=True, kw_only=True)
class AttackReport:
    """What attacks found.

    Attributes:
        results: of this call.
        verdicts: per attack and tier, with guesses and scores.
        path: attack.json.
        pictures: PNG files.
        remarks: lines that belong beside the results: whose records were attacked, with what knowledge.
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


def attack(
    run: Run | RunFolder | Path | str,
    config: AttackConfig | None = None,
    *,
    attacks: Sequence[Attack] | None = None,
    out: Path | str | None = None,
    dataset: Dataset | None = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    data_dir: Path | str | None = None,
    allow_plugins: Iterable[str] = (),
    listener: Progress | None = None,
) -> AttackReport:
    """Attack a finished run and leave attack.json.

    Args:
        run: a run, or its folder.
        config: what to attack and how.
        attacks: attacks as objects, instead of those that the configuration names.
        out: folder to write to; by default ``attacks`` in the run folder. Results of other attacks that are there stay.
        dataset: what `train` was given as an object; likewise ``model``, ``scheduler``, ``defenses``.
        model: see there.
        scheduler: see there.
        defenses: see there.
        data_dir: where the run's data are now, if they have moved.
        allow_plugins: modules whose objects the run's configuration may name (``package.module:function``).
        listener: hears how the attacks proceed.

    Raises:
        InputError: wrong input, or an attack that cannot run here; nothing was attacked.
        RunError: the run is damaged, or an attack failed; guesses that were finished are kept.
    """
    config, listener = config or AttackConfig(), listener or Progress()
    objects: dict[str, Any] = {"dataset": dataset, "model": model, "scheduler": scheduler, "defenses": defenses}
    by_name = attacks is None and all(thing is None for thing in objects.values())
    with deterministic_kernels(), one_thread():
        opened = open_run(run, data_dir=data_dir, allow_plugins=allow_plugins, **objects)
        folder = opened.folder.attacks if out is None else output_path(out)
        require_no_links(opened.folder)
        require_usable(folder)
        session = Session(opened, config, attacks, folder, listener)
        _make(folder)
        with locked(RunFolder(path=folder)):
            undefended = _undefended_report(opened, session, config, dataset, folder, listener, by_name=by_name)
            listener.jobs_announced(session.labels())
            if config.workers > 1 and by_name:
                mount_side_by_side(session, opened, config, folder, listener)
            verdicts = session.run()
            found = [*session.baselines(), *(result for verdict in verdicts for result in verdict.results)]
            results = beside(found, [] if undefended is None else undefended.results)
            known = _write(folder, opened, session.round, results, session.sizes(), listener)
            pictures = save_pictures(folder, verdicts, known)
    return AttackReport(
        results=results,
        verdicts=verdicts,
        path=folder / RESULTS,
        pictures=pictures,
        remarks=[*session.remarks(), *_missing(opened, config)],
        left_out=session.left_out,
        undefended=undefended,
    )


def _missing(opened: OpenedRun, config: AttackConfig) -> list[str]:
    if config.undefended is None and opened.prepared.config.defense:
        return ["nothing stands beside this defended run but its baselines: --undefended train adds it"]
    return []


def _undefended_report(
    opened: OpenedRun,
    session: Session,
    config: AttackConfig,
    dataset: Dataset | None,
    folder: Path,
    listener: Progress,
    *,
    by_name: bool,
) -> AttackReport | None:
    """Return what the same attacks reach on the same run without defenses, if that is asked for."""
    if config.undefended is None:
        return None
    jobs = _undefended_jobs(opened, session.jobs, listener)
    if not jobs:
        return None
    if config.undefended == TRAIN:
        listener.note("training the same run without defenses")
    twin = undefended_folder(opened, config.undefended, folder / "undefended", dataset=dataset)
    listener.note(f"the same attacks on the undefended run {twin.path}")
    tiers = tuple(sorted({job.tier for job in jobs}))
    chosen = {job.chosen.text: job.chosen.attack for job in jobs}
    return attack(
        twin,
        config.model_copy(
            update={"undefended": None, "tiers": tiers, **({"attacks": tuple(chosen)} if by_name else {})}
        ),
        attacks=None if by_name else list(chosen.values()),
        dataset=dataset,
        model=opened.objects["model"],
        scheduler=opened.objects["scheduler"],
        data_dir=opened.prepared.config.data_dir,
        allow_plugins=opened.prepared.config.allowed,
        listener=listener,
    )


def _undefended_jobs(opened: OpenedRun, jobs: Sequence[Job], listener: Progress) -> list[Job]:
    """Return the jobs that a run without defenses can be attacked by too; of the others it is said once each."""
    found, said = [], set()
    for job in jobs:
        try:
            job.chosen.attack.check(target_at(opened, job.tier, defended=False))
        except InputError as error:
            if job.chosen.name not in said:
                listener.note(f"{job.chosen.name} has no undefended counterpart: {error}")
            said.add(job.chosen.name)
        else:
            found.append(job)
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be made: {error.strerror}") from None


def beside(results: Sequence[Result], undefended: Sequence[Result]) -> list[Result]:
    """Return results with the undefended run's value of the same attack, tier and metric beside them."""
    known = {key_of(result): result.value for result in undefended}
    return [result.model_copy(update={"undefended": known.get(key_of(result))}) for result in results]


def key_of(result: Result) -> tuple[object, ...]:
    """Return what tells a result from the others of a run: tier, attack with its settings, metric, adversary."""
    settings = tuple(sorted((name, str(value)) for name, value in result.settings.items()))
    return (result.tier, result.source, result.metric, result.adaptive, result.adversary, settings)


def _write(
    folder: Path,
    opened: OpenedRun,
    rounds: int,
    results: Sequence[Result],
    sizes: Mapping[str, int],
    listener: Progress,
) -> list[Result]:
    """Write attack.json: these results, and those of other attacks on the same round that were there; return all."""
    path = folder / RESULTS
    new = {(key_of(result)) for result in results}
    others: list[Result] = []
    if path.is_file():
        try:
            others = [result for result in read_results(path) if key_of(result) not in new]
        except InputError as error:
            listener.note(f"{error}; it is replaced")
        else:
            if read_round(path) != rounds:
                listener.note(f"{path} was of another round of this run; it is replaced")
                others = []
    header = {
        "run": path_text(opened.folder.path),
        "round": rounds,
        "threat_model": _threats([*others, *results]),
        **sizes,
    }
    write_atomic(path, results_document([*others, *results], header))
    return [*others, *results]


def _threats(results: Sequence[Result]) -> list[str]:
    return sorted({result.adversary for result in results if result.adversary is not None})
