"""What measures look at: a release of the clients' own records through the client half of a tier."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.knowledge.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.knowledge.shadow_runs import ShadowRuns
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.undefended_run import as_long_as
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.client_exposure import rounds_by_tier
from dtfl_private.data.preprocess import unit
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.leakage.measures.base import Release
from dtfl_private.privacy.disclosure import ONE_ROUND
from dtfl_private.protection.defended_costs import cut_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.guarantees import GaussianRelease, NoisyInputs
from dtfl_private.protocol.messages import ModelDownload, Seen, below
from dtfl_private.randomness import isolated, stream
from dtfl_private.runtime.device import choose_numerics
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.table import TierTable

# At which epsilon is stated where no defense says otherwise.
USUAL_DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """A run as measures see it.

    Attributes:
        setup: the clients' program and the adversary's data.
        costs: sizes at every cut.
        records: (N,) of the last round's clients, in whole batches.
        batch_size: of these.
    """

    setup: AttackSetup
    costs: TierTable
    records: Tensor
    batch_size: int


def measured_run(opened: OpenedRun, config: AuditConfig) -> MeasuredRun:
    """Return a run as measures see it, with as many records as the (settled) configuration allows."""
    worker = opened.prepared.worker
    assert config.aux_images is not None
    split = split_auxiliary(opened, Knowledge.parse(config.aux), config.aux_images, config.aux_dir)
    # A Jacobian in half precision would be mostly rounding.
    numerics = choose_numerics(
        config.device, "fp32", worker.numerics.memory_format, resolved_norm(opened.prepared.config)
    )
    shadows = ShadowRuns(
        as_long_as(opened, opened.prepared.config),
        worker.classes,
        opened.folder.path,
        opened.objects,
        opened.vocabulary,
    )
    records, size = _whole_batches(opened, config.measured)
    return MeasuredRun(
        setup=AttackSetup(opened=opened, split=split, numerics=numerics, shadows=shadows),
        costs=analyse(
            worker.model, tuple(worker.train_images.shape[1:]), worker.classes, worker.numerics, worker.head_size
        ),
        records=records,
        batch_size=size,
    )


def release_at(run: MeasuredRun, tier: int) -> Release:
    """Return what clients of a tier release of their records, with the client half that the last round began with."""
    setup, size = run.setup, run.batch_size
    worker, device = setup.opened.prepared.worker, setup.numerics.device
    seen = Seen(download=_sender(setup, tier), batches=(), update=None)
    encoder = setup.program(seen, True, 0)
    images = unit(worker.train_images[run.records]).to(device)
    labels = worker.train_labels[run.records].to(device)

    def release(own: Tensor, own_labels: Tensor, draw: int) -> Tensor:
        seed = int(stream(worker.seed, "measured release", tier, draw).integers(2**62))
        with isolated(seed, "dropout"):
            return setup.program(seen, True, seed).release(own, own_labels)

    parts = zip(torch.split(images, size), torch.split(labels, size), strict=True)
    smashed = [release(own, own_labels, -1 - number) for number, (own, own_labels) in enumerate(parts)]
    row = next(row for row in run.costs.rows if row.tier == tier)
    return Release(
        images=images,
        labels=labels,
        smashed=torch.cat(smashed),
        batch_size=size,
        encoder=_undefended(encoder),
        release=release,
        noise=setup.defense_of(seen.download).known_noise(
            cut_of(row, tuple(worker.train_images.shape[1:]), worker.batch_size)
        ),
        releases=_releases(setup.opened, tier),
        delta=_delta(worker.defense.unruled),
        auxiliary=setup.split.judging.images.to(device),
        seed=worker.seed,
    )


def _whole_batches(opened: OpenedRun, most: int) -> tuple[Tensor, int]:
    """Return records of the last round's clients, in whole batches of one size, and that size."""
    worker = opened.prepared.worker
    parts = [torch.as_tensor(worker.parts[client]) for client in _senders(opened)]
    size = min(worker.batch_size, max(len(part) for part in parts))
    batches = [batch for part in parts for batch in torch.split(part, size) if len(batch) == size]
    return torch.cat(batches[: max(1, -(-most // size))]), size


def _senders(opened: OpenedRun) -> list[int]:
    """Return the last round's clients; where each keeps a network of its own, the first one that sent anything."""
    if opened.prepared.method.sends_weights:
        return [task.client for task in opened.tasks]
    return [task.client for task in opened.tasks if task.completes][:1]


def _sender(setup: AttackSetup, tier: int) -> ModelDownload:
    """Return the weights under which the measured records were sent: an attack need not know them."""
    opened, honest = setup.opened, setup.honest(tier)
    if opened.prepared.method.sends_weights:
        return honest
    (client,) = _senders(opened)
    own = below(f"client/{client}/", opened.after.extras)
    return replace(honest, client=client, weights=below("net/", own), head=below("head/", own))


def _releases(opened: OpenedRun, tier: int) -> int:
    """Return how often a record was sent in the whole run, of the clients that were in this tier; 1 if none was.

    The most of them, and in whatever tier: as if all had been sent in this one.
    """
    worker = opened.prepared.worker
    there = [counts for counts in rounds_by_tier(opened.records).values() if counts[tier]]
    rounds = max((sum(counts[sending] for sending in opened.cut_tiers) for counts in there), default=0)
    return max(1, rounds * (1 if opened.sends_once else worker.local_epochs))


def _delta(defense: DefenseChain) -> float:
    """Return the delta at which the defenses state an epsilon of smashed data, or the usual one."""
    of_smashed = GaussianRelease | NoisyInputs
    stated = [guarantee for guarantee in defense.guarantees(ONE_ROUND) if isinstance(guarantee, of_smashed)]
    return stated[0].target.delta if stated else USUAL_DELTA


def _undefended(program: ClientProgram) -> Callable[[Tensor], Tensor]:
    def encode(images: Tensor) -> Tensor:
        with isolated(0, "dropout"):  # the same in every call, for derivatives
            return program.activations(images, defended=False)

    return encode
