"""Leakage client by client: whose records an attack gets back better than others', where all are in the same tier.

Attacks that learn once and then serve any number of victims are mounted on the first batches of the last round's
clients, all placed in the same tier. What is compared between clients is how much of the way from a trivial guess to
the truth the attack goes, record by record: neither a client whose records anybody could guess counts as exposed, nor
one whose records are only harder to guess where the attack gets all of them back.

What clients really sent depends on the tiers that they were in, which `client_exposure` tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import Attack, MembershipInference, Reconstruction, TokenReconstruction
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.parallel import GuessTask, guess_tasks
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import sent_sizes
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.judged_records import judged_records
from dtfl_private.leakage.baselines import nearest
from dtfl_private.leakage.between_groups import compare_groups
from dtfl_private.leakage.image_metrics import mse
from dtfl_private.leakage.rank_correlation import rank_correlation
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.randomness import stream
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import for_purpose
from dtfl_private.verdicts.client_comparison import ClientComparison, ClientLeakage, RankCorrelation, Trait
from dtfl_private.verdicts.findings import NotTested

KINDS: tuple[type[Attack], ...] = (Reconstruction, TokenReconstruction, MembershipInference)
WHAT = "differences between clients"
PURPOSE = "by client"
MOST_VICTIMS = 2_000
"""Records at most: attacks take memory and time for each. First batches of as many clients as these hold."""
LEAST_EACH = 16
"""Records of each client, by further batches where first ones are smaller."""


def by_client(plan: AuditPlan, report: AttackReport, progress: Callback) -> Sequence[ClientComparison] | NotTested:
    """Attack the clients' first batches, and return how clients compare at each tier; or why that is not known.

    Args:
        plan: of the audit.
        report: of the attacks on the run, which tells which of them are the strongest.
        progress: hears of one job for each tier and attack.
    """
    if (why := _why_not(plan)) is not None:
        return NotTested(what=WHAT, why=why)
    plans = _plans(plan, report)
    if not plans:
        return NotTested(what=WHAT, why="no attack that learns once and then reads any number of records was mounted")
    heard = for_purpose(progress, PURPOSE)
    heard.jobs_announced([label for one in plans for label in one.labels])
    holders = client_of_record(plan.opened)
    found = [
        comparison
        for one in plans
        for verdict in judged_guesses(one, heard)
        if (comparison := _compared(plan, one, verdict, holders)) is not None
    ]
    if not found:
        return NotTested(what=WHAT, why="the records that were judged are those of one client")
    return [with_holm(one, found) for one in found]


def by_client_tasks(plan: AuditPlan, report: AttackReport) -> list[GuessTask]:
    """Return what this step needs and is not cached yet, for processes that guess it ahead."""
    if _why_not(plan) is not None:
        return []
    return [task for one in _plans(plan, report) for task in guess_tasks(one, PURPOSE)]


def client_jobs(plan: AuditPlan) -> int:
    """Return how many jobs this step will be: one for each tier and kind of attack that can be mounted."""
    if _why_not(plan) is not None:
        return 0
    return sum(any(_serves(job, kind, tier) for job in plan.jobs) for kind in KINDS for tier in plan.cut_tiers)


def client_of_record(opened: OpenedRun) -> IntArray:
    """Return which client holds each training record, -1 where none does."""
    worker = opened.prepared.worker
    holders = np.full(len(worker.train_labels), -1, dtype=np.int64)
    for client, part in enumerate(worker.parts):
        holders[part] = client
    return holders


def with_holm(one: ClientComparison, family: Sequence[ClientComparison]) -> ClientComparison:
    """Return a comparison with the p-value by which all of a family count as one.

    Holm 1979 (Scandinavian Journal of Statistics 6).

    Args:
        one: of these.
        family: all comparisons of an audit.
    """
    smaller = sorted(other.p_value for other in family if other.p_value <= one.p_value)
    adjusted = max((len(family) - place) * p_value for place, p_value in enumerate(smaller))
    return one.model_copy(update={"adjusted": min(1.0, adjusted)})


def _why_not(plan: AuditPlan) -> str | None:
    if plan.config.by_client != "on":
        return "not asked for (--by-client on)"
    if not plan.cut_tiers:
        return "clients send no activations"
    clients = len(plan.opened.tasks)
    return None if clients > 1 else f"{clients} client took part in the last round"


def _plans(plan: AuditPlan, report: AttackReport) -> list[AttackPlan]:
    """Return the plans of the attacks that are mounted, with the tiers of each."""
    tiers_by_attack: dict[str, tuple[Verdict, list[int]]] = {}
    for kind in KINDS:
        for tier in plan.cut_tiers:
            fit = (one for one in report.verdicts if one.scored is not None and _serves(one.job, kind, tier))
            strongest = max(fit, key=_reached, default=None)
            if strongest is not None:
                tiers_by_attack.setdefault(strongest.job.chosen.text, (strongest, []))[1].append(tier)
    return [_plan(plan, verdict, tiers) for verdict, tiers in tiers_by_attack.values()]


def _serves(job: Job, kind: type[Attack], tier: int) -> bool:
    """Whether a job is an honest attack of a kind at a tier that serves any number of victims."""
    attack = job.chosen.attack
    amortised = attack.facts.amortised and attack.facts.per_tier and not attack.tampers
    return isinstance(attack, kind) and job.tier == tier and amortised


def _reached(verdict: Verdict) -> float:
    return next(one.value for one in verdict.results if one.metric in ("ssim", "token-accuracy", "auc"))


def _plan(plan: AuditPlan, strongest: Verdict, tiers: Sequence[int]) -> AttackPlan:
    """Return the plan of one repetition of an attack on the clients' first batches."""
    chosen, opened = strongest.job.chosen, plan.opened
    firsts = [sent_sizes(opened, task.client, tiers[0])[0] for task in opened.tasks]
    changes: dict[str, Any] = {
        "attacks": (chosen.text,) if plan.attacks is None else plan.attack_config.attacks,
        "tiers": tuple(tiers),
        "seeds": 1,
        "victims": min(max(sum(firsts), LEAST_EACH * len(firsts)), MOST_VICTIMS),
    }
    config = plan.attack_config.model_copy(update=changes)
    attacks = None if plan.attacks is None else [chosen.attack]
    return plan_attack(opened, config, attacks, plan.folder / "by-client")


def _compared(plan: AuditPlan, attack_plan: AttackPlan, verdict: Verdict, holders: IntArray) -> ClientComparison | None:
    """Return the clients compared by one attack at one tier; None if all records are one client's."""
    judged = judged_records(verdict)
    clients_N = holders[judged.records]
    if len(set(clients_N.tolist())) < 2:
        return None
    tier, worker = verdict.job.tier, plan.opened.prepared.worker
    rng = stream(worker.seed, "by-client", verdict.job.chosen.text, tier)
    compared = compare_groups(judged.recovered, clients_N, rng)
    labels = worker.train_labels.numpy()
    oddness = None if verdict.pictured is None else _oddness(attack_plan, verdict.pictured.truth)
    clients = []
    for group in compared.groups:
        own, part = clients_N == group.group, worker.parts[group.group]
        clients.append(
            ClientLeakage(
                client=group.group,
                n=group.n,
                value=float(judged.values[own].mean()),
                guess=None if judged.guesses is None else float(judged.guesses[own].mean()),
                recovered=group.value,
                shrunk=group.shrunk,
                ci_low=max(group.low, -1.0),
                ci_high=min(group.high, 1.0),
                above=group.above,
                p_value=group.p_value,
                records=len(part),
                label_entropy=entropy_bits(labels[part]),
                oddness=None if oddness is None else float(oddness[own].mean()),
            )
        )
    return ClientComparison(
        tier=tier,
        attack=verdict.job.chosen.name,
        metric=judged.metric,
        guess=judged.guess,
        p_value=compared.p_value,
        adjusted=compared.p_value,
        deviation=compared.deviation,
        clients=tuple(clients),
        correlations=tuple(correlations(clients)),
    )


def _oddness(attack_plan: AttackPlan, images: torch.Tensor) -> FloatArray | None:
    """Return the distance of each image to the nearest auxiliary image; None if there are none."""
    auxiliary = attack_plan.setup.split.auxiliary
    return None if auxiliary is None else nearest_distance(images, auxiliary.images)


def nearest_distance(images: torch.Tensor, others: torch.Tensor) -> FloatArray:
    """Return the distance of each image (N, C, H, W) to the nearest of others: root mean square over pixels (N,)."""
    return np.asarray(np.sqrt(mse(nearest(others, images), images)))


def entropy_bits(labels: IntArray) -> float:
    """Return the entropy of labels, in bits: 0 of one class alone."""
    from scipy.stats import entropy  # scipy takes a while to load

    return float(entropy(np.bincount(labels), base=2))


def correlations(clients: Sequence[ClientLeakage]) -> Iterator[RankCorrelation]:
    """Yield the rank correlations of the clients' leakage with their traits, where there are any."""
    recovered = np.array([one.recovered for one in clients])
    traits: Mapping[Trait, list[float | None]] = {
        "label-entropy": [one.label_entropy for one in clients],
        "records": [one.records for one in clients],
        "oddness": [one.oddness for one in clients],
    }
    for trait, values in traits.items():
        if None not in values and (found := rank_correlation(recovered, np.array(values, dtype=float))) is not None:
            yield RankCorrelation(trait=trait, value=found.value, ci_low=found.low, ci_high=found.high)
