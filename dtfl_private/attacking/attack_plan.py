"""What a call of `attack` is going to do: checked as a whole, with nothing computed or written yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dtfl_private.attacking.assumed import in_force
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import Job, LeftOut, plan_jobs
from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.cache_keys import SharedResults, run_key, shared_key
from dtfl_private.attacking.knowledge.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.knowledge.shadow_runs import ShadowRuns
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.scoring.scoring import Judge
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.undefended_run import as_long_as
from dtfl_private.attacking.victims.victim_rounds import Played, VictimRounds
from dtfl_private.attacking.view import View
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.protocol.adversaries import AuxiliaryKind
from dtfl_private.protocol.assumptions import taken_away
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import available_cores, choose_numerics


@dataclass(frozen=True, kw_only=True)
class AttackPlan:
    """Attacks on a run, ready to be carried out.

    Attributes:
        opened: the run.
        config: what to attack and how.
        folder: where results and cached guesses lie.
        knows: the adversary's auxiliary knowledge.
        jobs: the attacks at their tiers.
        left_out: attacks that cannot run here, if the configuration lets them be left out.
        setup: the run's parts and the adversary's data.
        rounds: the victims' rounds.
        cache: of guesses.
        judge: of guesses.
    """

    opened: OpenedRun
    config: AttackConfig
    folder: Path
    knows: AuxiliaryKind
    jobs: Sequence[Job]
    left_out: Sequence[LeftOut]
    setup: AttackSetup
    rounds: VictimRounds
    cache: ResultCache
    judge: Judge

    @property
    def seeds(self) -> range:
        """The repetitions of each attack."""
        return range(self.config.seeds)

    @property
    def threads(self) -> int:
        """CPU threads."""
        return self.config.threads or available_cores()

    @property
    def labels(self) -> list[str]:
        """What a progress display calls the repetitions to come."""
        return [job.label(seed) for job in self.jobs for seed in self.seeds]

    @property
    def auxiliary_images(self) -> int:
        """Images that the adversary trains on."""
        auxiliary = self.setup.split.auxiliary
        return 0 if auxiliary is None else len(auxiliary.images)

    @property
    def budget(self) -> str:
        """The steps of each attack that has any, at one tier in one repetition, for example "hybrid (steps=100)"."""
        steps = {job.chosen.text: (job.chosen.name, job.chosen.attack.budget) for job in self.jobs}
        named = [(name, [f"{setting}={count}" for setting, count in budget.items()]) for name, budget in steps.values()]
        return "; ".join(f"{name} ({', '.join(counts)})" for name, counts in named if counts)

    def view(self, job: Job, seed: int, played: Played | None, listener: Callback) -> View:
        """Return what an attack sees in one repetition; ``played`` is None before the clients have played."""
        if played is None:
            evidence = self.setup.evidence(job.tier, None)
        else:
            evidence = self.setup.evidence(played.tier, played.victims, played.earlier)
        return View(
            evidence,
            adversary=job.chosen.adversary,
            knows=self.knows,
            attack=job.chosen.name,
            seed=seed,
            progress=partial(listener.job_advanced, job.label(seed)),
            keep=SharedResults(self.cache, shared_key(job, seed, played)),
            answer=None if played is None or played.tampering is None else played.tampering.answer,
        )


def plan_attack(opened: OpenedRun, config: AttackConfig, attacks: Sequence[Attack] | None, folder: Path) -> AttackPlan:
    """Check what is to be attacked and how, and return it.

    Args:
        opened: the run.
        config: what to attack and how.
        attacks: as objects; None for those that the configuration names.
        folder: where results and cached guesses are to lie.

    Raises:
        InputError: an attack that cannot run here, or other wrong input.
        RunError: a recording of the run is damaged.
    """
    require_labels_of_records(opened)
    knowledge, rounds = Knowledge.parse(config.aux), VictimRounds(opened, config)
    jobs, left_out = plan_jobs(
        opened,
        config,
        knowledge,
        attacks,
        rounds.recorded_tiers,
        sent_again=rounds.sent_again,
        profile_at=rounds.profile_at,
    )
    if any(job.chosen.aggregate for job in jobs) and (config.clients is not None or knowledge.client is not None):
        raise InputError("of the sum of all updates every client is attacked: leave --client and --aux client:K out")
    rounds.require_victims(jobs)
    setup = _setup(opened, config, knowledge, rounds, folder)
    if config.undefended is not None and not opened.prepared.config.defense:
        raise InputError("this run has no defenses: leave --undefended out")
    return AttackPlan(
        opened=opened,
        config=config,
        folder=folder,
        knows=knowledge.kind,
        jobs=jobs,
        left_out=left_out,
        setup=setup,
        rounds=rounds,
        cache=ResultCache(folder / "kept", run_key(opened, config, setup.split.auxiliary)),
        judge=Judge(setup, lpips=config.lpips),
    )


def require_labels_of_records(opened: OpenedRun) -> None:
    """Refuse runs of next-token training, whose labels are the texts.

    Raises:
        InputError: it is one.
    """
    if opened.prepared.worker.model.vocabulary is None:
        return
    if "labels" in opened.prepared.method.sends:
        raise InputError(
            f"'{opened.folder.path}' is next-token training, whose labels are the texts: clients send all but the "
            "first token of each to the server in plain, whatever defenses do, and nothing is left to attack or audit"
        )
    raise InputError(
        f"'{opened.folder.path}' is next-token training, for which no attack and no audit is made: what activations, "
        "gradients and weight updates tell of the texts is not measured"
    )


def _setup(
    opened: OpenedRun, config: AttackConfig, knowledge: Knowledge, rounds: VictimRounds, folder: Path
) -> AttackSetup:
    worker = opened.prepared.worker
    own, norm = worker.numerics, resolved_norm(opened.prepared.config)
    return AttackSetup(
        opened=opened,
        numerics=choose_numerics(config.device, own.precision, own.memory_format, norm),
        split=split_auxiliary(opened, knowledge, config.aux_images, config.aux_dir, rounds.clients),
        shows_updates="updates" not in taken_away(in_force(opened, config)),
        shadows=ShadowRuns(
            as_long_as(opened, opened.prepared.config),
            worker.classes,
            folder / "shadows",
            opened.objects,
            opened.vocabulary,
        ),
    )
