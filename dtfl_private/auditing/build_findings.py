"""Findings gathered from the results of an audit's steps: verdicts, exposure, guarantees, what was not tested."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtfl_private.attacking.assumed import declared, in_force
from dtfl_private.attacking.attack_plan import AttackPlan
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.client_exposure import exposures
from dtfl_private.auditing.measuring import Measured, with_undefended
from dtfl_private.auditing.not_tested import not_tested
from dtfl_private.auditing.repeat import repeat_commands
from dtfl_private.auditing.tier_defenses import with_defenses
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.run_folder.provenance import installed_versions
from dtfl_private.files.writing import path_text
from dtfl_private.leakage.results.result import Result
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.protection.wire_format import named_format
from dtfl_private.protocol.adversaries import ADVERSARIES, MEANING, Capability
from dtfl_private.protocol.assumptions import AssumptionName, taken_away
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.runtime.device import choose_device
from dtfl_private.runtime.executor_choice import without_address
from dtfl_private.training.method import Method
from dtfl_private.verdicts.auxiliary_point import AuxiliaryPoint
from dtfl_private.verdicts.client_comparison import ClientComparison
from dtfl_private.verdicts.findings import (
    Convergence,
    Findings,
    Guaranteed,
    NotTested,
    SanityCheck,
    Threat,
    Training,
)
from dtfl_private.verdicts.verdict import chance, is_of_attack, strongest, tier_verdicts


@dataclass(frozen=True, kw_only=True)
class AuditResults:
    """All that the steps of an audit found.

    Attributes:
        trainings: that were attacked, the run itself first.
        sanity: the checks.
        attacked: results of attacks at every tier, pooled over the trainings.
        measured: of the run.
        measured_undefended: results of measures on the run without defenses.
        scheduled: results on clients in the tiers in which they really were.
        convergence: of one attack, or why that is not known.
        auxiliary_curve: likewise, what one attack gets by its number of auxiliary images.
        by_client: clients compared, or why they are not.
        equal_victims: what cannot be tested as some victims are equal.
    """

    trainings: Sequence[AttackedTraining]
    sanity: Sequence[SanityCheck]
    attacked: Sequence[Result]
    measured: Measured
    measured_undefended: Sequence[Result]
    scheduled: Sequence[Result]
    convergence: Convergence | NotTested
    auxiliary_curve: Sequence[AuxiliaryPoint] | NotTested
    by_client: Sequence[ClientComparison] | NotTested
    equal_victims: NotTested | None = None

    @property
    def valid(self) -> bool:
        """Whether all sanity checks passed."""
        return all(check.passed for check in self.sanity)


def gather_findings(plan: AuditPlan, found: AuditResults) -> Findings:
    """Return what an audit found, as it is written to audit.json."""
    attacked, measured, opened = found.attacked, found.measured, plan.opened
    best, judged = strongest(attacked), [*attacked, *measured.results]
    steps = (found.convergence, found.auxiliary_curve, found.by_client, found.equal_victims)
    convergence = found.convergence if isinstance(found.convergence, Convergence) else None
    verdicts = tier_verdicts(judged, valid=found.valid, convergence=convergence)
    verdicts = with_defenses(opened, verdicts, plan.attack_plan.rounds.profile_at)
    rebuilt = "token-accuracy" if plan.of_texts else "ssim"
    metric = next((verdict.strongest.metric for verdict in verdicts if is_of_attack(verdict.strongest)), rebuilt)
    return Findings(
        program=installed_versions()["dtfl-private"],
        run=path_text(opened.folder.path),
        round=plan.attack_plan.rounds.number,
        preset=plan.config.preset,
        settings=_settings(plan.config, plan.attack_plan),
        training=describe_training(opened, found.trainings[0].undefended_accuracy),
        threat_model=_threats(
            attacked, hidden_in(opened.prepared.method) | taken_away(in_force(opened, plan.attack_config))
        ),
        auxiliary=_knowledge(plan),
        victims=max((result.n for result in attacked if result.metric == rebuilt), default=plan.attack_config.victims),
        aux=plan.attack_plan.auxiliary_images,
        valid=found.valid,
        sanity=tuple(found.sanity),
        convergence=convergence,
        auxiliary_curve=() if isinstance(found.auxiliary_curve, NotTested) else tuple(found.auxiliary_curve),
        by_client=() if isinstance(found.by_client, NotTested) else tuple(found.by_client),
        results=(*attacked, *with_undefended(measured.results, found.measured_undefended)),
        as_scheduled=tuple(found.scheduled),
        strongest=tuple(best),
        verdict=tuple(verdicts),
        chance=chance(judged),
        clients=tuple(exposures(opened, best, metric)),
        assumed=declared(opened, plan.attack_config),
        guarantees=_guarantees(opened, declared(opened, plan.attack_config)),
        not_tested=tuple(not_tested(plan, found.trainings, measured, steps)),
        repeat=repeat_commands(plan),
        environment=_environment(plan.workers, choose_device(plan.config.device)),
    )


_FAILED = {
    "identity": "on the identity failed: attacks that do not get back what is sent as it is prove nothing",
    "update": "on the update failed: attacks that do not rebuild the one record of an update prove nothing",
    "md1": "at md1 failed: attacks that do not get records back from the shallowest cut, undefended, prove nothing",
    "random": "on random numbers failed: attacks that read texts where none are know more than what clients send",
}


def stopped_findings(plan: AuditPlan, checks: Sequence[SanityCheck]) -> Findings:
    """Return the findings of an audit that ended at its sanity checks: invalid, with nothing attacked."""
    why = "; ".join(f"the sanity check {_FAILED[check.name]}" for check in checks if not check.passed)
    all_else = NotTested(what="everything else: attacks at every tier, measures", why=why)
    nothing = AuditResults(
        trainings=[AttackedTraining(run=plan.opened.folder, undefended=None, folder=plan.folder)],
        sanity=checks,
        attacked=(),
        measured=Measured(results=(), not_given=()),
        measured_undefended=(),
        scheduled=(),
        convergence=all_else,
        auxiliary_curve=all_else,
        by_client=all_else,
    )
    return gather_findings(plan, nothing).model_copy(update={"not_tested": (all_else,)})


def describe_training(opened: OpenedRun, undefended_accuracy: float | None) -> Training:
    """Return what an audit says of a run, with the accuracy of the same without defenses if that is known."""
    config = opened.prepared.config
    return Training(
        dataset=config.dataset,
        model=config.model,
        norm=resolved_norm(config),
        wire=named_format(config.wire, config.precision),
        method=config.method,
        partition=config.partition,
        scheduler=config.scheduler,
        clients=config.clients,
        rounds=len(opened.records),
        seed=config.seed,
        defense=tuple(config.defense),
        test_accuracy=opened.records[-1]["test_accuracy"],
        undefended_accuracy=undefended_accuracy,
        tiers=tuple(opened.tiers),
    )


def _settings(config: AuditConfig, attacked: AttackPlan) -> dict[str, Any]:
    """Return the settings by name, with the attacks that were mounted, and the steps that these make."""
    attacks = list(dict.fromkeys(job.chosen.text for job in attacked.jobs))
    values = {**config.model_dump(mode="json"), "attacks": attacks, "steps": attacked.budget or None}
    values["executor"] = without_address(config.executor)
    return {
        name: "; ".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in values.items()
    }


def hidden_in(method: Method) -> frozenset[Capability]:
    """Return what nobody has in a training method: what it keeps from all, and what its clients do not send."""
    sent: Mapping[Protected, Capability] = {"smashed": "smashed", "labels": "labels", "weights": "updates"}
    hidden = method.hides | {capability for what, capability in sent.items() if what not in method.sends}
    return hidden | {"aggregate"} if "updates" in hidden else hidden


def _threats(results: Sequence[Result], hidden: frozenset[Capability]) -> tuple[Threat, ...]:
    """Return the adversaries that attacked, with what they see and may do."""
    names = {result.adversary for result in results if result.adversary is not None}
    found = [ADVERSARIES[name].without(hidden) for name in sorted(names)]
    return tuple(
        Threat(
            adversary=one.name,
            who=one.who,
            capabilities=tuple(MEANING[capability] for capability in MEANING if capability in one.has),
        )
        for one in found
    )


def _knowledge(plan: AuditPlan) -> str:
    count, name = plan.attack_plan.auxiliary_images, plan.config.aux
    noun = "texts" if plan.of_texts else "images"
    if not count:
        return f"{name}: no {noun} of its own"
    return f"{name}: {count} labelled {noun} to train on, and a fifth as many to tune by, that no client holds"


def _guarantees(opened: OpenedRun, assumed: Sequence[AssumptionName]) -> tuple[Guaranteed, ...]:
    method = opened.prepared.method
    stated = disclosures(
        opened.prepared.worker.defense,
        opened.after.ledgers,
        sends=method.sends,
        full_tier=method.full_tier,
        statistics=opened.prepared.settings.privacy.statistics,
        assumed=assumed,
    )
    return tuple(Guaranteed(**entry) for entry in stated)


def _environment(workers: int, device: str) -> dict[str, Any]:
    return {**installed_versions(), "platform": platform.platform(), "device": device, "workers": workers}
