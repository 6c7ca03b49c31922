"""A check inside every audit: attacks must succeed where nothing is hidden, or their failures elsewhere prove nothing.

The smashed data are the inputs themselves, as if the client held no module at all: the identity encoder.
"""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from dtfl_private.attacking.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack, Reconstruction, name_of
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.evidence import AttackedRound, Auxiliary, Evidence, Network
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.replay import OpenedRun
from dtfl_private.attacking.result_cache import ResultCache, code_of, digest_of, digest_of_auxiliary
from dtfl_private.attacking.setup import local_steps
from dtfl_private.attacking.view import View
from dtfl_private.data.preprocess import unit
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.leakage.findings import SanityCheck
from dtfl_private.leakage.result import Result
from dtfl_private.leakage.scores import ssim
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch
from dtfl_private.protocol.threat import ADVERSARIES
from dtfl_private.randomness import isolated
from dtfl_private.runtime.device import available_cores, choose_numerics, threads
from dtfl_private.runtime.progress import Progress

# What the strongest attack must reach, as mean SSIM.
IDENTITY_SSIM = 0.99
SHALLOWEST_SSIM = 0.9


def identity_check(
    opened: OpenedRun, config: AttackConfig, attacks: Sequence[Attack], cache: ResultCache, listener: Progress
) -> SanityCheck:
    """Attack inputs that are sent as they are, and return whether the strongest attack got them back.

    Args:
        opened: the run, for its images and the adversary's.
        config: auxiliary knowledge, number of victims, device.
        attacks: those that the audit mounts; those that reconstruct images count.
        cache: keeps guesses.
        listener: hears of one job for each of the attacks.
    """
    worker = opened.prepared.worker
    numerics = choose_numerics(
        config.device, worker.numerics.precision, worker.numerics.memory_format, resolved_norm(opened.prepared.config)
    )
    auxiliary = split_auxiliary(opened, Knowledge.parse(config.aux), config.aux_images, config.aux_dir).auxiliary
    records = torch.as_tensor(worker.parts[opened.tasks[0].client])[: config.victims]
    images, labels = unit(worker.train_images[records]), worker.train_labels[records]
    download = ModelDownload(client=0, round=opened.plan.round, tier=1, weights={}, head={})

    def program(seen: Seen, adaptive: bool, seed: int) -> ClientProgram:  # noqa: ARG001 - no defense, no chance
        return ClientProgram(
            modules=StagedModel([("identity", nn.Identity())]),
            head=nn.Identity(),
            download=seen.download,
            preprocessor=copy.deepcopy(worker.normaliser).to(numerics.device),
            defense=DefenseChain(),
            numerics=numerics,
            training=True,
            seed=seed,
            records=len(records),
            classes=worker.classes,
        )

    sender = program(Seen(download=download, batches=(), update=None), True, 0)
    batches = tuple(
        SmashedBatch(
            client=0,
            round=opened.plan.round,
            tier=1,
            batch=number,
            smashed=sender.release(own.to(numerics.device), own_labels.to(numerics.device)),
            labels=own_labels.to(numerics.device),
        )
        for number, (own, own_labels) in enumerate(
            zip(torch.split(images, worker.batch_size), torch.split(labels, worker.batch_size), strict=True)
        )
    )
    evidence = Evidence(
        round=AttackedRound(
            seen=[Seen(download=download, batches=batches, update=None)],
            local_steps=local_steps(opened, opened.plan.round),
        ),
        network=Network(
            program=program,
            input_shape=tuple(images.shape[1:]),
            classes=worker.classes,
            tier=1,
            cut_shape=tuple(batches[0].smashed.shape[1:]),
            augmentations=tuple(worker.augmentations),
            device=numerics.device,
        ),
        auxiliary=auxiliary,
    )
    reached = [_ssim(attack, evidence, config, cache, listener, images, auxiliary) for attack in attacks]
    best = max(range(len(attacks)), key=reached.__getitem__)
    return SanityCheck(
        name="identity",
        attack=name_of(attacks[best]),
        metric="ssim",
        value=reached[best],
        needed=IDENTITY_SSIM,
        passed=reached[best] > IDENTITY_SSIM,
    )


def _ssim(
    attack: Attack,
    evidence: Evidence,
    config: AttackConfig,
    cache: ResultCache,
    listener: Progress,
    truth: Tensor,
    auxiliary: Auxiliary | None,
) -> float:
    """Return the mean SSIM of what an attack gets from inputs that are sent as they are."""
    assert isinstance(attack, Reconstruction)
    label = identity_label(attack)
    listener.job_started(label)
    view = View(
        evidence,
        adversary=ADVERSARIES["server-honest-but-curious"],
        knows=Knowledge.parse(config.aux).kind,
        attack=name_of(attack),
        seed=0,
        progress=partial(listener.job_advanced, label),
    )
    what = {
        "identity": repr(attack),
        "code": code_of(attack),
        "seen": digest_of(evidence.round.seen),
        "auxiliary": None if auxiliary is None else digest_of_auxiliary(auxiliary),
    }
    with (
        crashes_named(f"attack {label}"),
        isolated(0, "identity", name_of(attack)),
        threads(config.threads or available_cores()),
    ):
        kept, there = cache.get_or_make(what, lambda: {"guess": attack.reconstruct(view)})
        reached = float(ssim(kept["guess"], truth).mean())
    listener.job_finished(label, cached=there)
    return reached


def identity_label(attack: Attack) -> str:
    """Return what a progress display calls the check of an attack."""
    return f"{name_of(attack)}, sanity check on the identity"


def shallowest(results: Sequence[Result]) -> list[Result]:
    """Return how well attacks got images back at md1, of results of a run without defenses."""
    return [result for result in results if result.tier == 1 and result.metric == "ssim" and result.adversary]


def shallowest_check(reached: Sequence[Result]) -> SanityCheck:
    """Return whether the strongest attack got the images back at md1; see `shallowest`, of which there must be some."""
    best = max(reached, key=lambda result: result.value)
    return SanityCheck(
        name="md1",
        attack=best.source,
        metric="ssim",
        value=best.value,
        needed=SHALLOWEST_SSIM,
        passed=best.value > SHALLOWEST_SSIM,
    )
