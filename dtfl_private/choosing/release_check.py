"""Whether a defense does anything: a client's round with it and without it, compared message by message.

A name protects nothing. A defense counts only if in some tier what leaves a client differs because of it: smashed data,
labels, or the weight update. One that has no effect but on what a server may ask (a floor of tiers) counts too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from dtfl_private.attacking.victims.acting_defenses import differ_in_a_tier
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import batches_per_epoch
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.conditional import bare
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import Seen
from dtfl_private.runtime.device import one_thread
from dtfl_private.training.recording import Recorder
from dtfl_private.training.tasks import ClientTask

# Of the largest value: what differs by less is the same for every purpose, however it was computed.
EQUAL = 1e-6


def inactive_defenses(opened: OpenedRun) -> list[str]:
    """Return the names of a run's defenses that change nothing of what leaves its clients, in their order.

    Of one with a rule it is the name without the rule, as a space has it. One with strengths of its own in several
    tiers is among them if it changes nothing in any of these.
    """
    acting: dict[str, bool] = {}
    with one_thread():
        for place, defense in enumerate(opened.prepared.worker.defense):
            name = name_of(bare(defense))
            acting[name] = acting.get(name, False) or _acts(opened, place, defense)
    return [name for name, acts in acting.items() if not acts]


def _acts(opened: OpenedRun, place: int, defense: Defense) -> bool:
    if defense.tier_floor > 1:
        return True
    return any(_differs(opened, place, task) for task in _tasks(opened))


def _tasks(opened: OpenedRun) -> Iterator[ClientTask]:
    """Yield the part of one client in the last round, placed in each tier from the shallowest on.

    With each profile that clients have, where it matters: a defense may act at others than this one.
    """
    own = next((task for task in opened.tasks if task.completes), opened.tasks[0])
    for tier in [own.tier] if opened.prepared.method.together else opened.tiers:
        batches = batches_per_epoch(opened, own.client) * opened.prepared.worker.local_epochs
        placed = replace(own, tier=tier, batches=batches, sent_batches=None, completes=True)
        yield from (replace(placed, profile=profile) for profile in _profiles(opened, own))


def _profiles(opened: OpenedRun, own: ClientTask) -> list[str]:
    if not differ_in_a_tier(opened):
        return [own.profile]
    return [profile.name for profile in opened.prepared.settings.schedule.environment.profiles]


def _differs(opened: OpenedRun, place: int, task: ClientTask) -> bool:
    """Return whether what a client sends depends on a defense; first by one batch, then by the whole round."""
    worker = opened.prepared.worker
    own = list(worker.defense)
    # In its place one that does nothing, so that the others draw as they did.
    bare = DefenseChain(
        [*own[:place], Defense(), *own[place + 1 :]], worker.defense.wire, worker.defense.class_weights
    ).padded_by(worker.defense.padding)
    for whole in (False, True):
        sent = [_sent(opened, task, defense, whole=whole) for defense in (worker.defense, bare)]
        if not _alike(*sent):
            return True
    return False


def _sent(opened: OpenedRun, task: ClientTask, defense: DefenseChain, *, whole: bool) -> Seen:
    worker = replace(opened.prepared.worker, heads=opened.heads, defense=defense)
    recorder = Recorder(worker, sends_weights=opened.prepared.method.sends_weights)
    batches = task.batches if whole else 1
    if opened.prepared.method.together:
        others = [(one, batches if one.client == task.client else 0) for one in opened.tasks]
        played = recorder.record_together(others, opened.weights, whole=whole)
        return next(one.seen for one in played if one.seen.download.client == task.client)
    return recorder.record(task, opened.weights, batches=batches, whole=whole).seen


def _alike(one: Seen, other: Seen) -> bool:
    mine, its = _tensors(one), _tensors(other)
    return len(mine) == len(its) and all(map(_equal, mine, its))


def _tensors(seen: Seen) -> Sequence[Tensor]:
    update = () if seen.update is None else (*seen.update.weights.values(), *seen.update.head.values())
    batches = chain.from_iterable((batch.smashed, batch.labels) for batch in seen.batches)
    return [*batches, *(sent.logits for sent in seen.logits), *update]


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    mine, its = one.detach().double(), other.detach().double()
    largest = torch.maximum(mine.abs().amax(), its.abs().amax()) if mine.numel() else torch.tensor(0.0)
    return bool(((mine - its).abs() <= EQUAL * largest).all())
