"""Attack: from a finished run to what an adversary gets out of it, in numbers and pictures.

attacks x tiers x seeds -> scene -> view -> guess (kept on disk) -> judged by the ground truth -> attack.json, pictures
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.adversary.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    Tampering,
)
from dtfl_private.adversary.view import Auxiliary, Seen, View, once_only
from dtfl_private.commands.attack_listener import AttackListener, SilentAttack
from dtfl_private.commands.attack_pictures import save_pictures
from dtfl_private.commands.attack_plan import Job, plan_jobs, scene_at
from dtfl_private.commands.attack_settings import AttackConfig
from dtfl_private.commands.auxiliary import Knowledge, split_auxiliary
from dtfl_private.commands.judging import Judge, Repetition, Verdict
from dtfl_private.commands.recorded import earlier_rounds, latest_recordings
from dtfl_private.commands.replay import OpenedRun, open_run
from dtfl_private.commands.scene import Setting
from dtfl_private.commands.shadow import ShadowRuns
from dtfl_private.commands.train import Run, read_run_config, train
from dtfl_private.commands.victims import (
    Stage,
    Victims,
    by_epoch,
    later_epochs,
    play,
    recorded_stage,
    victim_tasks,
    whole_epochs,
)
from dtfl_private.commands.workshop import Workshop, code_of, digest_of, digest_of_auxiliary
from dtfl_private.config import differences, resolved_norm
from dtfl_private.contracts import Scheduler
from dtfl_private.data.dataset import Dataset
from dtfl_private.defense import Defense
from dtfl_private.errors import InputError, RunError
from dtfl_private.federated.worker import GlobalWeights
from dtfl_private.leakage.result import Result, read_results, results_document
from dtfl_private.randomness import isolated
from dtfl_private.record import RunFolder, locked
from dtfl_private.runtime.device import (
    available_cores,
    choose_numerics,
    deterministic_kernels,
    one_thread,
    threads,
)
from dtfl_private.runtime.files import write_atomic
from dtfl_private.runtime.transcripts import recorded_rounds

RESULTS = "attack.json"

# What the undefended twin of a run may differ in.
FREE_OF_TWINS = frozenset({"defense", "on_budget", "workers", "data_dir", "download", "device"})


@dataclass(frozen=True, kw_only=True)
class AttackReport:
    """What attacks found.

    Attributes:
        results: of this call.
        verdicts: per attack and tier, with guesses and scores.
        path: attack.json.
        pictures: PNG files.
        remarks: lines that belong beside the results: whose records were attacked, with what knowledge.
    """

    results: Sequence[Result]
    verdicts: Sequence[Verdict]
    path: Path
    pictures: Sequence[Path]
    remarks: Sequence[str]


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
    listener: AttackListener | None = None,
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
        listener: hears how the attacks proceed.

    Raises:
        InputError: wrong input, or an attack that cannot run here; nothing was attacked.
        RunError: the run is damaged, or an attack failed; guesses that were finished are kept.
    """
    config, listener = config or AttackConfig(), listener or SilentAttack()
    objects: dict[str, Any] = {"model": model, "scheduler": scheduler, "defenses": defenses}
    with deterministic_kernels(), one_thread():
        opened = open_run(run, data_dir=data_dir, dataset=dataset, **objects)
        folder = opened.folder.attacks if out is None else Path(out)
        session = _Session(opened, config, attacks, folder, listener)
        _make(folder)
        with locked(RunFolder(path=folder)):
            undefended = session.undefended_results(dataset)
            verdicts = session.run()
            found = [*session.baselines(), *(result for verdict in verdicts for result in verdict.results)]
            results = _beside(found, undefended)
            known = _write(folder, opened, session.round, results, session.sizes(), listener)
            pictures = save_pictures(folder, verdicts, known)
    return AttackReport(
        results=results, verdicts=verdicts, path=folder / RESULTS, pictures=pictures, remarks=session.remarks()
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be made: {error.strerror}") from None


class _Session:
    """One call of `attack`: everything is checked when it is made, and nothing has been computed or written then."""

    def __init__(
        self,
        opened: OpenedRun,
        config: AttackConfig,
        attacks: Sequence[Attack] | None,
        folder: Path,
        listener: AttackListener,
    ) -> None:
        knowledge = Knowledge.parse(config.aux)
        worker = opened.prepared.worker
        self._opened, self._config, self._folder, self._listener = opened, config, folder, listener
        self._knows = knowledge.kind
        self._recorded = [] if config.replay else latest_recordings(opened)
        recorded_tiers = [recording.seen.download.tier for recording in self._recorded]
        self._jobs = plan_jobs(opened, config, knowledge, attacks, recorded_tiers)
        if not self._sent_again():
            for job in self._jobs:
                if job.chosen.attack.facts.looks_back:
                    raise once_only(job.chosen.name)
        numerics = choose_numerics(
            config.device,
            worker.numerics.precision,
            worker.numerics.memory_format,
            resolved_norm(opened.prepared.config),
        )
        shadows = ShadowRuns(opened.prepared.config, worker.classes, folder / "shadows", dict(opened.objects))
        self._setting = Setting(
            opened=opened,
            split=split_auxiliary(opened, knowledge, config.aux_images, config.aux_dir),
            numerics=numerics,
            shadows=shadows,
        )
        if config.undefended is not None and not opened.prepared.config.defense:
            raise InputError("this run has no defenses: leave --undefended out")
        self._workshop = Workshop(folder / "kept", _basis(opened, config, self._setting.split.auxiliary))
        self._stages: dict[tuple[int, Victims], Stage] = {}
        self._judge = Judge(self._setting, lpips=config.lpips)

    def _sent_again(self) -> bool:
        """Whether there are other releases of the victims' records: further epochs, or earlier recorded rounds."""
        worker = self._opened.prepared.worker
        if not self._recorded and worker.local_epochs > 1 and not worker.defense.releases_apart:
            return True
        return any(number < self.round for number, _ in recorded_rounds(self._opened.folder.transcript))

    def run(self) -> list[Verdict]:
        """Mount every attack at every tier, one after the other."""
        seeds = range(self._config.seeds)
        self._listener.started([job.label(seed) for job in self._jobs for seed in seeds])
        return [self._judged(job, [self._repeat(job, seed) for seed in seeds]) for job in self._jobs]

    def _judged(self, job: Job, repetitions: Sequence[Repetition]) -> Verdict:
        settings = {**job.chosen.settings, "aux": self._config.aux, "as_scheduled": self._config.as_scheduled}
        return self._judge.verdict(job, repetitions, settings)

    def _repeat(self, job: Job, seed: int) -> Repetition:
        """Mount an attack once."""
        label = job.label(seed)
        self._listener.job(label)
        with isolated(seed, "attack", job.chosen.text, job.tier), threads(self._config.threads or available_cores()):
            tampering = job.chosen.attack.tamper(self._view(job, seed))
            stage = self._stage(job, tampering)
            guess, kept = self._guess(job, seed, stage, tampering) if stage.seen else (None, False)
        self._listener.finished(label, kept=kept)
        return Repetition(stage=stage, tampering=tampering, guess=guess)

    def _stage(self, job: Job, tampering: Tampering | None) -> Stage:
        """Return the victims' rounds, played with what a malicious server sends if the attack tampers."""
        kind: Victims = "rounds" if "updates" in job.chosen.attack.facts.needs else "batches"
        if tampering is not None:
            return self._play(job.tier, kind, tampering)
        if (job.tier, kind) not in self._stages:
            if self._recorded:
                recorded = whole_epochs(self._opened, self._recorded, kind)
                stage = recorded_stage(recorded, job.tier, self._config.victims, kind)
                self._setting.index_sets(stage)
            else:
                stage = self._play(job.tier, kind, None)
            self._stages[job.tier, kind] = stage
        return self._stages[job.tier, kind]

    def _play(self, tier: int, kind: Victims, tampering: Tampering | None) -> Stage:
        weights, sent_to = self._opened.weights, tier
        if tampering is not None:
            weights = GlobalWeights(model={**weights.model, **tampering.weights}, heads=weights.heads)
            sent_to = tampering.tier
        among = tier if self._config.as_scheduled else None
        tasks = victim_tasks(self._opened, sent_to, self._config.victims, kind, scheduled_in=among)
        with one_thread():  # as in the run
            # Who releases apart sends with the weights of its update, which takes the whole round to see.
            apart = self._opened.prepared.worker.defense.releases_apart
            stage = play(self._opened.recorder(), tasks, weights, kind="rounds" if apart else kind)
        self._setting.index_sets(stage)
        return stage

    def _earlier(self, stage: Stage) -> list[Seen]:
        """Return what else the victims' clients sent: in earlier recorded rounds, and in further epochs of this one."""
        rounds = earlier_rounds(self._opened, stage.seen)
        earlier = [epoch for one in rounds for epoch in by_epoch(self._opened, one)]
        if self._recorded:  # only their first batches are on the disk
            return earlier
        with one_thread():
            recorder = self._opened.recorder()
            return earlier + [later for seen in stage.seen for later in later_epochs(self._opened, recorder, seen)]

    def _view(
        self,
        job: Job,
        seed: int,
        stage: Stage | None = None,
        earlier: Sequence[Seen] = (),
        tampering: Tampering | None = None,
    ) -> View:
        # A malicious server may have named another tier than that of the job.
        tier = job.tier if stage is None else stage.recordings[0].seen.download.tier
        # Helpers are shared by attacks at one tier, but for those on weights that only this attack sends.
        planted = job.chosen.text if tampering is not None and tampering.weights else None
        shown = None if stage is None else digest_of([*stage.seen, *earlier])
        common = {"tier": tier, "seed": seed, "planted": planted, "seen": shown}
        return View(
            self._setting.background(tier, stage, earlier),
            adversary=job.chosen.adversary,
            knows=self._knows,
            attack=job.chosen.name,
            seed=seed,
            progress=self._listener.progress,
            keep=lambda name, make: self._workshop.keep({"kept": name, **common}, make)[0],
        )

    def _guess(self, job: Job, seed: int, stage: Stage, tampering: Tampering | None) -> tuple[Tensor, bool]:
        """Return an attack's guess, and whether it was there from before."""
        earlier = self._earlier(stage) if job.chosen.attack.facts.looks_back else []
        view = self._view(job, seed, stage, earlier, tampering)
        code = code_of(job.chosen.attack)
        if code is None:  # what it depends on cannot be written down
            return _checked_guess(job, view), False
        what = {
            "code": code,
            "seen": digest_of([*stage.seen, *earlier]),
            "guess": job.chosen.text,
            "adversary": job.chosen.adversary.name,
            "tier": job.tier,
            "seed": seed,
            "victims": stage.records.tolist(),
        }
        kept, there = self._workshop.keep(what, lambda: {"guess": _checked_guess(job, view)})
        return kept["guess"], there

    def baselines(self) -> list[Result]:
        """Return what the trivial guesses score on the victims of reconstructions, tier by tier."""
        stages = {tier: stage for (tier, kind), stage in self._stages.items() if kind == "batches"}
        if not any(isinstance(job.chosen.attack, Reconstruction) for job in self._jobs):
            return []
        return [result for tier, stage in sorted(stages.items()) for result in self._judge.baselines(stage, tier)]

    @property
    def round(self) -> int:
        """The round that is attacked."""
        return self._recorded[0].seen.download.round if self._recorded else self._opened.plan.round

    def sizes(self) -> dict[str, int]:
        """Return the numbers of victims and of auxiliary images, for attack.json."""
        auxiliary = self._setting.split.auxiliary
        victims = max((len(stage.records) for stage in self._stages.values()), default=self._config.victims)
        return {"victims": victims, "aux": 0 if auxiliary is None else len(auxiliary.images)}

    def remarks(self) -> list[str]:
        """Return what belongs beside the results: whose records were attacked, and what the adversary knew."""
        sizes, auxiliary = self.sizes(), self._setting.split.auxiliary
        where = "the same clients placed in each tier"
        if self._config.as_scheduled or self._recorded:
            where = "clients in the tiers that they really were in"
        lines = [
            f"attacked: {sizes['victims']} images of {'recorded ' if self._recorded else ''}round {self.round}, "
            f"{where}, {self._config.seeds} repetitions",
            f"adversary's data: {self._config.aux}"
            + ("" if auxiliary is None else f", {sizes['aux']} images of {auxiliary.name} to train on"),
        ]
        if any(not job.chosen.attack.adaptive for job in self._jobs):
            lines.append("attacks that are not adaptive make defenses look better than they are")
        return lines

    def undefended_results(self, dataset: Dataset | None) -> list[Result]:
        """Return the results of the same attacks on the same run without defenses, if that is asked for."""
        if self._config.undefended is None:
            if self._opened.prepared.config.defense:
                self._listener.note(
                    "nothing stands beside a defended run but its baselines: --undefended train adds it"
                )
            return []
        jobs = [job for job in self._jobs if self._runs_undefended(job)]
        if not jobs:
            return []
        folder = self._twin(dataset)
        self._listener.note(f"the same attacks on the undefended run {folder.path}")
        tiers = tuple(sorted({job.tier for job in jobs}))
        report = attack(
            folder,
            self._config.model_copy(update={"undefended": None, "tiers": tiers}),
            attacks=list({job.chosen.text: job.chosen.attack for job in jobs}.values()),
            dataset=dataset,
            model=self._opened.objects["model"],
            scheduler=self._opened.objects["scheduler"],
            data_dir=self._opened.prepared.config.data_dir,
            listener=self._listener,
        )
        return list(report.results)

    def _runs_undefended(self, job: Job) -> bool:
        try:
            job.chosen.attack.check(scene_at(self._opened, job.tier, defended=False))
        except InputError as error:
            self._listener.note(f"{job.chosen.name} has no undefended counterpart: {error}")
            return False
        return True

    def _twin(self, dataset: Dataset | None) -> RunFolder:
        """Return the run without defenses; train it if that is asked for."""
        config = self._opened.prepared.config
        plain = config.model_copy(update={"defense": []})
        if self._config.undefended == "train":
            self._listener.note("training the same run without defenses")
            out = self._folder / "undefended"
            objects = {name: self._opened.objects[name] for name in ("model", "scheduler")}
            return train(plain, out=out, resume=True, dataset=dataset, **objects).folder
        folder = RunFolder(path=Path(str(self._config.undefended)))
        other = read_run_config(folder)
        changed = differences(plain, other, FREE_OF_TWINS)
        if changed or other.defense:
            raise InputError(
                f"'{folder.path}' is not this run without defenses "
                f"({'; '.join(changed) or 'it has some'}): use --undefended train"
            )
        return folder


def _basis(opened: OpenedRun, config: AttackConfig, auxiliary: Auxiliary | None) -> dict[str, object]:
    """Return what every guess depends on besides attack, tier, seed and what is seen."""
    digest = hashlib.sha256()
    for state in (opened.before.weights.model, opened.after.weights.model):
        for name, tensor in sorted(state.items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return {
        "version": version("dtfl-private"),
        "model": digest.hexdigest(),
        "data": opened.prepared.data_sha256,
        "config": opened.prepared.config.model_dump_json(exclude={"workers", "data_dir", "download"}),
        "aux": config.aux,
        "auxiliary": None if auxiliary is None else digest_of_auxiliary(auxiliary),
    }


def _checked_guess(job: Job, view: View) -> Tensor:
    """Let an attack guess, and check that it is a guess at all: it may be the user's own.

    Raises:
        RunError: it is not.
    """
    attack_, name = job.chosen.attack, job.chosen.name
    if isinstance(attack_, Reconstruction):
        guess, shape = attack_.reconstruct(view), (view.victims, *view.input_shape)
    elif isinstance(attack_, MembershipInference):
        guess, shape = attack_.scores(view), (len(view.candidates.labels),)
    elif isinstance(attack_, AttributeInference | LabelInference):
        guess, shape = attack_.infer(view), (view.victims,)
    else:
        raise InputError(f"attack '{name}' has no goal: derive it from Reconstruction or another class of its kind")
    if guess.shape != shape or not torch.isfinite(guess.float()).all():
        raise RunError(f"attack '{name}' returned {tuple(guess.shape)}, expected finite values {tuple(shape)}")
    return guess


def _beside(results: Sequence[Result], undefended: Sequence[Result]) -> list[Result]:
    """Return results with the undefended run's value of the same attack, tier and metric beside them."""
    known = {_key(result): result.value for result in undefended}
    return [result.model_copy(update={"undefended": known.get(_key(result))}) for result in results]


def _key(result: Result) -> tuple[object, ...]:
    settings = tuple(sorted((name, str(value)) for name, value in result.settings.items()))
    return (result.tier, result.source, result.metric, result.adaptive, result.adversary, settings)


def _write(
    folder: Path,
    opened: OpenedRun,
    rounds: int,
    results: Sequence[Result],
    sizes: Mapping[str, int],
    listener: AttackListener,
) -> list[Result]:
    """Write attack.json: these results, and those of other attacks on the same round that were there; return all."""
    path = folder / RESULTS
    new = {(_key(result)) for result in results}
    others: list[Result] = []
    if path.is_file():
        try:
            others = [result for result in read_results(path) if _key(result) not in new]
        except InputError as error:
            listener.note(f"{error}; it is replaced")
        else:
            if json.loads(path.read_bytes()).get("round") != rounds:
                listener.note(f"{path} was of another round of this run; it is replaced")
                others = []
    header = {"run": str(opened.folder.path), "round": rounds, "threat_model": _threats([*others, *results]), **sizes}
    write_atomic(path, results_document([*others, *results], header))
    return [*others, *results]


def _threats(results: Sequence[Result]) -> list[str]:
    return sorted({result.adversary for result in results if result.adversary is not None})
