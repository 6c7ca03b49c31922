"""A session of attacks on a run: scene -> view -> guess (kept on disk) -> judged by the ground truth."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.attacking.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    Tampering,
)
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.jobs import Job, plan_jobs
from dtfl_private.attacking.recorded_rounds import earlier_rounds, latest_recordings
from dtfl_private.attacking.replay import OpenedRun
from dtfl_private.attacking.result_cache import ResultCache, code_of, digest_of, digest_of_auxiliary
from dtfl_private.attacking.scoring import Judge, Repetition, Verdict
from dtfl_private.attacking.setup import AttackSetup
from dtfl_private.attacking.shadow_runs import ShadowRuns
from dtfl_private.attacking.victims import (
    VictimKind,
    Victims,
    by_epoch,
    later_epochs,
    play,
    recorded_victims,
    victim_tasks,
    whole_epochs,
)
from dtfl_private.attacking.view import View
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.experiments.transcripts import recorded_rounds
from dtfl_private.leakage.result import Result
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated
from dtfl_private.runtime.device import available_cores, choose_numerics, one_thread, threads
from dtfl_private.runtime.progress import Progress
from dtfl_private.training.state import GlobalWeights


class Session:
    """One call of `attack`: everything is checked when it is made, and nothing has been computed or written then.

    Args:
        opened: the run.
        config: what to attack and how.
        attacks: as objects; None for those that the configuration names.
        folder: where finished guesses are kept.
        listener: hears how the attacks proceed.

    Attributes:
        jobs: the attacks at their tiers.
        left_out: attacks that cannot run here, if the configuration lets them be left out.

    Raises:
        InputError: an attack that cannot run here, or other wrong input.
    """

    def __init__(
        self,
        opened: OpenedRun,
        config: AttackConfig,
        attacks: Sequence[Attack] | None,
        folder: Path,
        listener: Progress,
    ) -> None:
        knowledge = Knowledge.parse(config.aux)
        worker = opened.prepared.worker
        self._opened, self._config, self._folder, self._listener = opened, config, folder, listener
        self._knows = knowledge.kind
        self._recorded = [] if config.replay else latest_recordings(opened)
        recorded_tiers = [recording.seen.download.tier for recording in self._recorded]
        self.jobs, self.left_out = plan_jobs(
            opened, config, knowledge, attacks, recorded_tiers, sent_again=self._sent_again
        )
        numerics = choose_numerics(
            config.device,
            worker.numerics.precision,
            worker.numerics.memory_format,
            resolved_norm(opened.prepared.config),
        )
        shadows = ShadowRuns(opened.prepared.config, worker.classes, folder / "shadows", dict(opened.objects))
        self._setup = AttackSetup(
            opened=opened,
            split=split_auxiliary(opened, knowledge, config.aux_images, config.aux_dir),
            numerics=numerics,
            shadows=shadows,
        )
        if config.undefended is not None and not opened.prepared.config.defense:
            raise InputError("this run has no defenses: leave --undefended out")
        self._cache = ResultCache(folder / "kept", _basis(opened, config, self._setup.split.auxiliary))
        self._stages: dict[tuple[int, VictimKind], Victims] = {}
        self._judge = Judge(self._setup, lpips=config.lpips)
        self._ahead: set[str] = set()

    def _sent_again(self, tier: int) -> bool:
        """Whether a tier's victims were sent once more: in further epochs, or in earlier rounds that were recorded."""
        worker = self._opened.prepared.worker
        if not self._recorded and worker.local_epochs > 1 and not worker.defense.releases_apart:
            return True
        count = self._config.victims
        if self._recorded:
            victims = recorded_victims(whole_epochs(self._opened, self._recorded, "batches"), tier, count, "batches")
            clients = {recording.seen.download.client for recording in victims.recordings}
        else:
            among = tier if self._config.as_scheduled else None
            tasks = victim_tasks(self._opened, tier, count, "batches", scheduled_in=among)
            clients = {task.client for task, _ in tasks}
        recorded = recorded_rounds(self._opened.folder.transcript)
        return any(number < self.round and client in clients for number, client in recorded)

    def run(self) -> list[Verdict]:
        """Mount every attack at every tier that has not been mounted yet, one after the other, and judge them all."""
        seeds = range(self._config.seeds)
        return [self._judged(job, [self._repeat(job, seed) for seed in seeds]) for job in self.jobs]

    def labels(self) -> list[str]:
        """Return what a progress display calls the repetitions to come."""
        return [job.label(seed) for job in self.jobs for seed in range(self._config.seeds)]

    def portions(self) -> list[tuple[int, int]]:
        """Return the tiers and seeds at which a guess has yet to be made.

        They are independent of each other, while attacks at one tier with one seed share what they train.
        """
        waiting = [
            (job.tier, seed) for job in self.jobs for seed in range(self._config.seeds) if not self._is_kept(job, seed)
        ]
        return list(dict.fromkeys(waiting))

    def mount(self, tier: int, seed: int) -> None:
        """Make and keep the guesses of all attacks at one tier with one seed."""
        for job in self.jobs:
            if job.tier == tier:
                self._repeat(job, seed)

    def mounted(self, label: str) -> None:
        """Hear that another process has made and kept a guess."""
        self._ahead.add(label)

    def _judged(self, job: Job, repetitions: Sequence[Repetition]) -> Verdict:
        settings = {**job.chosen.settings, "aux": self._config.aux, "as_scheduled": self._config.as_scheduled}
        return self._judge.verdict(job, repetitions, settings)

    def _repeat(self, job: Job, seed: int) -> Repetition:
        """Mount an attack once."""
        label = job.label(seed)
        listener = Progress() if label in self._ahead else self._listener
        listener.job_started(label)
        seeded = isolated(seed, "attack", job.chosen.text, job.tier)
        with crashes_named(f"attack {label}"), seeded, threads(self._threads):
            tampering = job.chosen.attack.tamper(self._view(job, seed))
            victims = self._stage(job, tampering)
            guess, kept = self._guess(job, seed, victims, tampering) if victims.seen else (None, False)
        listener.job_finished(label, cached=kept)
        return Repetition(victims=victims, tampering=tampering, guess=guess)

    @property
    def _threads(self) -> int:
        return self._config.threads or available_cores()

    def _is_kept(self, job: Job, seed: int) -> bool:
        """Whether a guess is there from before; what tampers is not looked at, as playing it may take long."""
        if type(job.chosen.attack).tamper is not Attack.tamper:
            return False
        with isolated(seed, "attack", job.chosen.text, job.tier), threads(self._threads):
            victims = self._stage(job, None)
            what = self._dependencies(job, seed, victims, self._looked_back(job, victims))
        return not victims.seen or (what is not None and self._cache.has(what))

    def _looked_back(self, job: Job, victims: Victims) -> list[Seen]:
        return self._earlier(victims) if job.chosen.attack.facts.looks_back else []

    def _stage(self, job: Job, tampering: Tampering | None) -> Victims:
        """Return the victims' rounds, played with what a malicious server sends if the attack tampers."""
        kind: VictimKind = "rounds" if "updates" in job.chosen.attack.facts.needs else "batches"
        if tampering is not None:
            return self._play(job.tier, kind, tampering)
        if (job.tier, kind) not in self._stages:
            if self._recorded:
                recorded = whole_epochs(self._opened, self._recorded, kind)
                victims = recorded_victims(recorded, job.tier, self._config.victims, kind)
                self._setup.index_sets(victims)
            else:
                victims = self._play(job.tier, kind, None)
            self._stages[job.tier, kind] = victims
        return self._stages[job.tier, kind]

    def _play(self, tier: int, kind: VictimKind, tampering: Tampering | None) -> Victims:
        weights, sent_to = self._opened.weights, tier
        if tampering is not None:
            weights = GlobalWeights(model={**weights.model, **tampering.weights}, heads=weights.heads)
            sent_to = tampering.tier
        among = tier if self._config.as_scheduled else None
        tasks = victim_tasks(self._opened, sent_to, self._config.victims, kind, scheduled_in=among)
        with one_thread():  # as in the run
            # Who releases apart sends with the weights of its update, which takes the whole round to see.
            apart = self._opened.prepared.worker.defense.releases_apart
            victims = play(self._opened.recorder(), tasks, weights, kind="rounds" if apart else kind)
        self._setup.index_sets(victims)
        return victims

    def _earlier(self, victims: Victims) -> list[Seen]:
        """Return what else the victims' clients sent: in earlier recorded rounds, and in further epochs of this one."""
        rounds = earlier_rounds(self._opened, victims.seen)
        earlier = [epoch for one in rounds for epoch in by_epoch(self._opened, one)]
        if self._recorded:  # only their first batches are on the disk
            return earlier
        with one_thread():
            recorder = self._opened.recorder()
            return earlier + [later for seen in victims.seen for later in later_epochs(self._opened, recorder, seen)]

    def _view(
        self,
        job: Job,
        seed: int,
        victims: Victims | None = None,
        earlier: Sequence[Seen] = (),
        tampering: Tampering | None = None,
    ) -> View:
        # A malicious server may have named another tier than that of the job.
        tier = job.tier if victims is None else victims.recordings[0].seen.download.tier
        # Helpers are shared by attacks at one tier, but for those on weights that only this attack sends.
        planted = job.chosen.text if tampering is not None and tampering.weights else None
        shown = None if victims is None else digest_of([*victims.seen, *earlier])
        common = {"tier": tier, "seed": seed, "planted": planted, "seen": shown}
        return View(
            self._setup.evidence(tier, victims, earlier),
            adversary=job.chosen.adversary,
            knows=self._knows,
            attack=job.chosen.name,
            seed=seed,
            progress=partial(self._listener.job_advanced, job.label(seed)),
            keep=lambda name, make: self._cache.get_or_make({"kept": name, **common}, make)[0],
        )

    def _guess(self, job: Job, seed: int, victims: Victims, tampering: Tampering | None) -> tuple[Tensor, bool]:
        """Return an attack's guess, and whether it was there from before."""
        earlier = self._looked_back(job, victims)
        view = self._view(job, seed, victims, earlier, tampering)
        what = self._dependencies(job, seed, victims, earlier)
        if what is None:
            return _checked_guess(job, view), False
        kept, there = self._cache.get_or_make(what, lambda: {"guess": _checked_guess(job, view)})
        return kept["guess"], there

    def _dependencies(
        self, job: Job, seed: int, victims: Victims, earlier: Sequence[Seen]
    ) -> Mapping[str, object] | None:
        """Return all that a guess depends on; None if that cannot be written down."""
        code = code_of(job.chosen.attack)
        if code is None:
            return None
        return {
            "code": code,
            "seen": digest_of([*victims.seen, *earlier]),
            "guess": job.chosen.text,
            "adversary": job.chosen.adversary.name,
            "tier": job.tier,
            "seed": seed,
            "victims": victims.records.tolist(),
        }

    def baselines(self) -> list[Result]:
        """Return what the trivial guesses score on the victims of reconstructions, tier by tier."""
        stages = {tier: victims for (tier, kind), victims in self._stages.items() if kind == "batches"}
        if not any(isinstance(job.chosen.attack, Reconstruction) for job in self.jobs):
            return []
        return [result for tier, victims in sorted(stages.items()) for result in self._judge.baselines(victims, tier)]

    @property
    def round(self) -> int:
        """The round that is attacked."""
        return self._recorded[0].seen.download.round if self._recorded else self._opened.plan.round

    def sizes(self) -> dict[str, int]:
        """Return the numbers of victims and of auxiliary images, for attack.json."""
        auxiliary = self._setup.split.auxiliary
        victims = max((len(victims.records) for victims in self._stages.values()), default=self._config.victims)
        return {"victims": victims, "aux": 0 if auxiliary is None else len(auxiliary.images)}

    def remarks(self) -> list[str]:
        """Return what belongs beside the results: whose records were attacked, and what the adversary knew."""
        sizes, auxiliary = self.sizes(), self._setup.split.auxiliary
        where = "the same clients placed in each tier"
        if self._config.as_scheduled or self._recorded:
            where = "clients in the tiers that they really were in"
        lines = [
            f"attacked: {sizes['victims']} images of {'recorded ' if self._recorded else ''}round {self.round}, "
            f"{where}, {self._config.seeds} repetitions",
            f"adversary's data: {self._config.aux}"
            + ("" if auxiliary is None else f", {sizes['aux']} images of {auxiliary.name} to train on"),
        ]
        if any(not job.chosen.attack.adaptive for job in self.jobs):
            lines.append("attacks that are not adaptive make defenses look better than they are")
        return lines


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
