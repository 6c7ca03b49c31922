"""What an audit will do: all that can be checked is checked here, before anything is computed or written."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import Attack, Reconstruction, TokenReconstruction
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import victim_tasks
from dtfl_private.auditing.audit_config import (
    OF_REPLIES,
    OF_TAILS,
    OF_TEXTS,
    OF_UPDATES,
    SETTLED,
    WITHOUT_WEIGHTS,
    AuditConfig,
)
from dtfl_private.auditing.trainings import NONE, check_trainings
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.recordings import recorded_rounds
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.runtime.device import choose_device, choose_workers


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """An audit as it will be carried out.

    Attributes:
        opened: the run.
        config: of the audit, settled.
        attacks: attacks as objects; None for those that the configuration names.
        folder: of the audit.
        workers: processes at a time.
        attack_config: how each training is attacked.
        attack_plan: what that comes to: the attacks at their tiers, and those that cannot run.
        cache: of the audit's own work; attacks have caches of their own.
    """

    opened: OpenedRun
    config: AuditConfig
    attacks: Sequence[Attack] | None
    folder: Path
    workers: int
    attack_config: AttackConfig
    attack_plan: AttackPlan
    cache: ResultCache

    @property
    def jobs(self) -> Sequence[Job]:
        """The attacks at their tiers."""
        return self.attack_plan.jobs

    @property
    def tiers(self) -> list[int]:
        """The audited tiers, ascending."""
        return sorted({job.tier for job in self.jobs})

    @property
    def cut_tiers(self) -> list[int]:
        """The audited tiers in which clients send activations, ascending."""
        return [tier for tier in self.tiers if tier != self.opened.whole_tier]

    @property
    def scheduled_tiers(self) -> list[int]:
        """The audited tiers in which some client sent anything in the last round."""
        if self.config.recorded or not self.opened.cut_tiers:
            return []  # recorded clients are in their tiers, and where there is one tier all are in it
        used = sorted(set(self.tiers) & set(self.opened.plan.tiers_P.tolist()))
        return [tier for tier in used if victim_tasks(self.opened, tier, 1, "batches", scheduled_in=tier)]

    @property
    def defended(self) -> bool:
        """Whether the run has defenses."""
        return bool(self.opened.prepared.config.defense)

    @property
    def reconstructs(self) -> bool:
        """Whether any attack reconstructs inputs from what clients send by the protocol."""
        kinds = Reconstruction | TokenReconstruction
        return any(isinstance(job.chosen.attack, kinds) and not job.chosen.attack.tampers for job in self.jobs)

    @property
    def of_texts(self) -> bool:
        """Whether the run's inputs are texts: sequences of tokens."""
        return self.opened.vocabulary is not None

    @property
    def knows_weights(self) -> bool:
        """Whether some adversary knows the weights that clients start from."""
        return "client-weights" not in self.opened.prepared.method.hides

    @property
    def by_name(self) -> bool:
        """Whether a command can name all that the audit is made of."""
        return self.attacks is None and not self.opened.objects


def plan_audit(
    opened: OpenedRun,
    config: AuditConfig,
    attacks: Sequence[Attack] | None,
    folder: Path,
) -> AuditPlan:
    """Check an audit, and return what it will do.

    Raises:
        InputError: wrong input, or none of the attacks can run here.
    """
    check_trainings(opened, config)
    if Knowledge.parse(config.aux).client is not None:
        raise InputError(f"--aux {config.aux} is for attack: an audit is of all clients, also of the one that it names")
    workers = choose_workers(config.workers, choose_device(config.device), max(64, config.workers or 1))
    attack_config = _attack_config(opened, config, workers)
    if config.recorded and not recorded_rounds(opened.folder.transcript):
        remedy = "leave --recorded out, or train or serve with record_rounds"
        raise InputError(f"no round of '{opened.folder.path}' was recorded: {remedy}")
    return AuditPlan(
        opened=opened,
        config=config,
        attacks=attacks,
        folder=folder,
        workers=workers,
        attack_config=attack_config,
        attack_plan=plan_attack(opened, attack_config, attacks, folder / "attacks"),
        cache=ResultCache(folder / "kept", {"version": version("dtfl-private"), "run": str(opened.folder.path)}),
    )


def _attack_config(opened: OpenedRun, config: AuditConfig, workers: int) -> AttackConfig:
    """Return how the run is attacked: a preset's attacks, and those that fit what the method shows and hides."""
    attack_config, hides = config.attacking(workers), opened.prepared.method.hides
    if config.attacks is None or config.attacks != SETTLED[config.preset].attacks:
        return attack_config
    if opened.vocabulary is not None:
        return attack_config.model_copy(update={"attacks": OF_TEXTS[config.preset]})
    more = [*(WITHOUT_WEIGHTS if "client-weights" in hides else ())]
    more += () if "replies" in hides else OF_REPLIES[config.preset]
    more += () if "tail-gradients" in hides else OF_TAILS
    more += OF_UPDATES if opened.whole_tier in opened.tiers else ()
    return attack_config.model_copy(update={"attacks": tuple(dict.fromkeys((*config.attacks, *more)))})


def expected_jobs(plan: AuditPlan, sanity_jobs: int, curve_jobs: int, client_jobs: int) -> int:
    """Return about how many jobs there will be, for a progress display.

    Args:
        plan: of the audit.
        sanity_jobs: of the sanity checks that come first.
        curve_jobs: of leakage against the attacker's data.
        client_jobs: of clients compared.
    """
    runs = 2 if plan.defended and plan.config.undefended != NONE else 1
    trained = (plan.config.training_seeds or 1) * runs
    scheduled = len(plan.scheduled_tiers)  # each once
    measures = 0 if plan.of_texts else len(MEASURES) * len(plan.cut_tiers) * runs
    attacks = len(plan.attack_plan.labels) * trained + scheduled + plan.reconstructs  # one is repeated
    attacks += client_jobs
    return attacks + trained - 1 + measures + sanity_jobs + (curve_jobs if plan.reconstructs else 0)
