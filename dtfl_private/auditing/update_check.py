"""The sanity check on an update: where one record made all of it, attacks must rebuild it, or they prove nothing.

A client of a small untrained network without defenses takes one step on one record of its own, as the run's clients
take theirs. That little hides nothing is known since Zhu et al. 2019 (NeurIPS, "Deep leakage from gradients").
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_setup import local_steps
from dtfl_private.attacking.base import Attack, Reconstruction, Target, name_of
from dtfl_private.attacking.evidence import AttackedRound, Evidence, Network
from dtfl_private.attacking.knowledge.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.sanity_attacks import judged_by_ssim
from dtfl_private.auditing.sanity_reconstruction import reached_ssim
from dtfl_private.data.preprocess import unit
from dtfl_private.errors import InputError
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, WeightUpdate
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import available_cores, choose_device
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.verdicts.findings import SanityCheck

# What the strongest attack must reach, as SSIM.
UPDATE_SSIM = 0.9
# Mounted if none of the audit's attacks reconstructs images from updates.
FALLBACK = "update-inversion"
CHANNELS = 16


def update_check_attacks(plan: AuditPlan) -> list[Attack]:
    """Return the attacks that can be tried on the update of one record; none where no client sends whole networks."""
    if plan.opened.whole_tier not in plan.tiers:
        return []
    target = _target(plan.opened)
    found = {job.chosen.text: job.chosen.attack for job in plan.jobs if _applies(job.chosen.attack, target)}
    attacks = list(found.values()) or [create("attack", FALLBACK)]
    # One record costs little, and with less than the normal effort a search has not got there yet.
    return [replace(attack, effort=max(1.0, attack.effort)) for attack in attacks]


def update_check(plan: AuditPlan, attacks: Sequence[Attack], progress: Callback) -> SanityCheck:
    """Attack the update of one record, and return whether the strongest attack got it back.

    Args:
        plan: of the audit.
        attacks: see `update_check_attacks`.
        progress: hears of one job for each of them.
    """
    progress.jobs_announced([update_label(attack) for attack in attacks])
    sent = _send_update(plan.opened, plan.attack_config)
    reached = [_ssim(attack, sent, plan, progress) for attack in attacks]
    return judged_by_ssim("update", attacks, reached, UPDATE_SSIM)


def update_label(attack: Attack) -> str:
    """Return what a progress display calls the check of an attack."""
    return f"{name_of(attack)}, sanity check on the update of one record"


@dataclass(frozen=True, kw_only=True)
class _SentUpdate:
    """The update of one record: what the adversary has to go by, and the image (1, C, H, W)."""

    evidence: Evidence
    truth: Tensor


def _target(opened: OpenedRun) -> Target:
    worker = opened.prepared.worker
    return Target(
        tier=1,
        input_shape=tuple(worker.train_images.shape[1:]),
        cut_shape=(worker.classes,),
        classes=worker.classes,
        defense=DefenseChain(),
        whole=True,
        optimizer=worker.optimizer.name,
    )


def _applies(attack: Attack, target: Target) -> bool:
    if not isinstance(attack, Reconstruction) or attack.tampers or attack.facts.looks_back:
        return False
    try:
        attack.check(target)
    except InputError:  # as one that needs smashed data
        return False
    return True


def _send_update(opened: OpenedRun, config: AttackConfig) -> _SentUpdate:
    """Let a client with one record of the last round's first client take one step."""
    worker, number = opened.prepared.worker, opened.plan.round
    numerics = Numerics(device=choose_device(config.device))
    auxiliary = split_auxiliary(opened, Knowledge.parse(config.aux), config.aux_images, config.aux_dir).auxiliary
    record = torch.as_tensor(worker.parts[opened.tasks[0].client])[:1]
    image, label = unit(worker.train_images[record]), worker.train_labels[record]
    steps = replace(local_steps(opened, number), epochs=1)
    network = numerics.place(_small_network(tuple(image.shape[1:]), worker.classes, worker.seed))
    download = ModelDownload(client=0, round=number, tier=1, weights=snapshot(network), head={})
    normalise = copy.deepcopy(worker.normaliser).to(numerics.device)
    optimizer = make_optimizer(network.parameters(), worker.optimizer, steps.lr)
    inputs = numerics.place_images(normalise(image.to(numerics.device) * 255))
    torch.autograd.backward(F.cross_entropy(network(inputs), label.to(numerics.device)))
    optimizer.step()
    update = WeightUpdate(client=0, round=number, tier=1, examples=1, weights=snapshot(network), head={})
    seen = Seen(download=download, batches=(), update=update)

    def program(seen: Seen, adaptive: bool, seed: int) -> ClientProgram:  # noqa: ARG001 - there is no defense to adapt to
        return ClientProgram(
            modules=copied(network),
            head=nn.Identity(),
            download=seen.download,
            preprocessor=copy.deepcopy(normalise),
            defense=DefenseChain(),
            numerics=numerics,
            training=True,
            seed=seed,
            records=1,
            classes=worker.classes,
        )

    evidence = Evidence(
        round=AttackedRound(seen=[seen], local_steps=steps),
        network=Network(
            program=program,
            input_shape=tuple(image.shape[1:]),
            classes=worker.classes,
            tier=1,
            cut_shape=(worker.classes,),
            augmentations=tuple(worker.augmentations),
            records=1,
            device=numerics.device,
        ),
        auxiliary=auxiliary,
    )
    return _SentUpdate(evidence=evidence, truth=image)


def _small_network(input_shape: tuple[int, ...], classes: int, seed: int) -> StagedModel:
    """Return a network that forgets no place of an image: two convolutions, and a linear layer.

    Of Adam's first step there are the signs of the slopes alone, so it takes weights enough, and units that are off for
    some images: ReLU.
    """
    channels, height, width = input_shape
    with isolated(seed, "update check"):
        first = nn.Sequential(nn.Conv2d(channels, CHANNELS, 3, padding=1), nn.ReLU())
        second = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())
        last = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * height * width, classes))
        return StagedModel([("md1", first), ("md2", second), ("md3", last)])


def _ssim(attack: Attack, sent: _SentUpdate, plan: AuditPlan, progress: Callback) -> float:
    """Return the SSIM of what an attack gets from the update of one record."""
    config = plan.attack_config
    return reached_ssim(
        attack,
        sent.evidence,
        sent.truth,
        check="update check",
        label=update_label(attack),
        config=config,
        cores=config.threads or available_cores(),
        cache=plan.cache,
        progress=progress,
    )
