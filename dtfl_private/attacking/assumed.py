"""What is assumed of a run, and what becomes of the attacks that it rules out."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack, name_of
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import Victims, batches_per_epoch, play
from dtfl_private.errors import InputError
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.assumptions import AssumptionName, instead_of
from dtfl_private.protocol.messages import WeightUpdate
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.recording import Recording, Truth

BUYS_NOTHING = (
    "secure aggregation is assumed, and one client completed the attacked round: the sum is its update, which is "
    "attacked as it is"
)


def declared(opened: OpenedRun, config: AttackConfig) -> tuple[AssumptionName, ...]:
    """Return what is assumed of a run: by itself, and by who attacks it."""
    more = () if config.assume is None else (config.assume,)
    return tuple(dict.fromkeys((*opened.prepared.config.assume, *more)))


def in_force(opened: OpenedRun, config: AttackConfig) -> tuple[AssumptionName, ...]:
    """Return what is assumed and takes something away in the run's last round.

    Raises:
        InputError: clients send no weight updates, which are what an assumption is about.
    """
    names = declared(opened, config)
    if names and "weights" not in opened.prepared.method.sends:
        raise InputError(
            f"--assume {names[0]} is about weight updates, and clients of {opened.method_name} send none: leave it out"
        )
    return names if _completing(opened) > 1 else ()


def assumption_remarks(opened: OpenedRun, config: AttackConfig) -> list[str]:
    """Return what to say where an assumption buys nothing."""
    return [BUYS_NOTHING] if declared(opened, config) and not in_force(opened, config) else []


def _completing(opened: OpenedRun) -> int:
    return sum(task.completes for task in opened.tasks)


def ruled_out(attack: str) -> InputError:
    """Return why an attack is not mounted on a client's update."""
    return InputError(
        f"{attack} needs the weight update of each single client, and the assumption rules it out: of secure "
        "aggregation (assumed, not shown) the server has the sum alone"
    )


def needs_of_sum(opened: OpenedRun, attack: Attack, taken: frozenset[Capability]) -> frozenset[Capability]:
    """Return what an attack on weight updates needs if it is mounted on their sum.

    Raises:
        InputError: it cannot be, as it is not made for clients that send the update of a whole network alone, or there
            are none.
    """
    if not attack.facts.whole or opened.whole_tier not in opened.tiers:
        raise ruled_out(name_of(attack))
    return instead_of(attack.facts.needs, taken)


def summed(opened: OpenedRun) -> Victims:
    """Return the last round as one who sees the sum of the updates does: as if all records were one client's.

    Every client that completed the round is in it, with all its records; what the sum is of is the ground truth.
    """
    tasks = [task for task in opened.tasks if task.completes and task.tier == opened.whole_tier]
    kept = [(task, batches_per_epoch(opened, task.client)) for task in tasks]
    return together(play(opened, kept, opened.weights, kind="rounds").recordings)


def together(recordings: Sequence[Recording]) -> Victims:
    """Return the rounds of several clients as one: the mean of their updates, weighted by examples, and all records."""
    there = [(one, one.seen.update) for one in recordings if one.seen.update is not None]
    if not there:
        return Victims(recordings=[])
    mean = WeightedAverage()
    for _, update in there:
        mean.add(update.weights, update.examples)
    first, own = there[0]
    update = WeightUpdate(
        client=own.client,
        round=own.round,
        tier=own.tier,
        examples=sum(update.examples for _, update in there),
        weights=mean.result(own.weights),
        head={},
    )
    truth = Truth(
        images=torch.cat([one.truth.images for one, _ in there]),
        labels=torch.cat([one.truth.labels for one, _ in there]),
        records=torch.cat([one.truth.records for one, _ in there]),
    )
    seen = replace(first.seen.first(0), update=update)
    return Victims(recordings=[Recording(seen=seen, truth=truth, remarks=())], summed=len(there))
