"""The sanity check on the identity: attacks must succeed where nothing is hidden, or their failures prove nothing.

The smashed data are the inputs themselves, as if the client held no module at all.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_setup import local_steps
from dtfl_private.attacking.base import Attack, name_of
from dtfl_private.attacking.evidence import AttackedRound, Evidence, Network
from dtfl_private.attacking.knowledge.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.auditing.sanity_attacks import judged_by_ssim
from dtfl_private.auditing.sanity_reconstruction import reached_ssim
from dtfl_private.data.preprocess import unit
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import available_cores, choose_numerics
from dtfl_private.training.worker import WorkerSetup
from dtfl_private.verdicts.findings import SanityCheck

# What the strongest attack must reach, as mean SSIM.
IDENTITY_SSIM = 0.99


def identity_check(
    opened: OpenedRun, config: AttackConfig, attacks: Sequence[Attack], cache: ResultCache, progress: Callback
) -> SanityCheck:
    """Attack inputs that are sent as they are, and return whether the strongest attack got them back.

    Args:
        opened: the run, for its images and the adversary's.
        config: auxiliary knowledge, number of victims, device.
        attacks: that reconstruct images; see `sanity_attacks`.
        cache: of guesses.
        progress: hears of one job for each of the attacks.
    """
    progress.jobs_announced([identity_label(attack) for attack in attacks])
    sent = _send_inputs(opened, config)
    reached = [_mean_ssim(attack, sent, config, cache, progress) for attack in attacks]
    return judged_by_ssim("identity", attacks, reached, IDENTITY_SSIM)


def identity_label(attack: Attack) -> str:
    """Return what a progress display calls the check of an attack."""
    return f"{name_of(attack)}, sanity check on the identity"


@dataclass(frozen=True, kw_only=True)
class _SentInputs:
    """Inputs that were sent as they are: what the adversary has to go by, and the images themselves (N, C, H, W)."""

    evidence: Evidence
    truth: Tensor


def _send_inputs(opened: OpenedRun, config: AttackConfig) -> _SentInputs:
    """Send images of the last round's first client through a client half without modules."""
    worker = opened.prepared.worker
    numerics = choose_numerics(
        config.device, worker.numerics.precision, worker.numerics.memory_format, resolved_norm(opened.prepared.config)
    )
    auxiliary = split_auxiliary(opened, Knowledge.parse(config.aux), config.aux_images, config.aux_dir).auxiliary
    records = torch.as_tensor(worker.parts[opened.tasks[0].client])[: config.victims]
    images, labels = unit(worker.train_images[records]), worker.train_labels[records]
    download = ModelDownload(client=0, round=opened.plan.round, tier=1, weights={}, head={})
    sender = _identity_program(worker, numerics, len(records), Seen(download=download, batches=(), update=None))
    seen = Seen(download=download, batches=tuple(_batches(sender, images, labels, worker.batch_size)), update=None)

    def program(seen: Seen, adaptive: bool, seed: int) -> ClientProgram:  # noqa: ARG001 - there is no defense to adapt to
        return _identity_program(worker, numerics, len(records), seen, seed)

    evidence = Evidence(
        round=AttackedRound(seen=[seen], local_steps=local_steps(opened, opened.plan.round)),
        network=Network(
            program=program,
            input_shape=tuple(images.shape[1:]),
            classes=worker.classes,
            tier=1,
            cut_shape=tuple(seen.batches[0].smashed.shape[1:]),
            augmentations=tuple(worker.augmentations),
            device=numerics.device,
        ),
        auxiliary=auxiliary,
    )
    return _SentInputs(evidence=evidence, truth=images)


def _identity_program(
    worker: WorkerSetup, numerics: Numerics, records: int, seen: Seen, seed: int = 0
) -> ClientProgram:
    """Return the program of a client that holds no module and has no defense."""
    return ClientProgram(
        modules=StagedModel([("identity", nn.Identity())]),
        head=nn.Identity(),
        download=seen.download,
        preprocessor=copy.deepcopy(worker.normaliser).to(numerics.device),
        defense=DefenseChain(),
        numerics=numerics,
        training=True,
        seed=seed,
        records=records,
        classes=worker.classes,
    )


def _batches(sender: ClientProgram, images: Tensor, labels: Tensor, size: int) -> Iterator[SmashedBatch]:
    """Yield what a client sends of its images, batch by batch."""
    parts = zip(torch.split(images, size), torch.split(labels, size), strict=True)
    for number, (own, own_labels) in enumerate(parts):
        own_labels = own_labels.to(sender.device)
        yield SmashedBatch(
            client=sender.download.client,
            round=sender.download.round,
            tier=sender.download.tier,
            batch=number,
            smashed=sender.release(own.to(sender.device), own_labels),
            labels=own_labels,
        )


def _mean_ssim(
    attack: Attack, sent: _SentInputs, config: AttackConfig, cache: ResultCache, progress: Callback
) -> float:
    """Return the mean SSIM of what an attack gets from inputs that are sent as they are."""
    return reached_ssim(
        attack,
        sent.evidence,
        sent.truth,
        check="identity",
        label=identity_label(attack),
        config=config,
        cores=config.threads or available_cores(),
        cache=cache,
        progress=progress,
    )
