"""Repetitions of an attack, and the victims that all of them have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dtfl_private.attacking.base import Tampering
from dtfl_private.attacking.victims.victims import Victims


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """One repetition of an attack: the victims, what a malicious server sent them, and the guess.

    ``guess`` is None if every client refused, so that there was nothing to attack.
    """

    victims: Victims
    tampering: Tampering | None
    guess: Tensor | None


def sent_labels(victims: Victims) -> Tensor:
    """Return the victims' labels (N,) as they were sent: what an adversary knows of them.

    Of clients that send weights alone the true ones, so that no trivial guess lacks what an attack may have counted.
    """
    if not any(seen.batches for seen in victims.seen):
        return victims.labels
    return torch.cat([batch.labels.cpu() for seen in victims.seen for batch in seen.batches])


def sends_labels(victims: Victims) -> bool:
    """Whether labels, protected or not, were sent with the victims' batches."""
    return all(batch.labelled for seen in victims.seen for batch in seen.batches)


def common_victims(repetitions: Sequence[Repetition]) -> tuple[Tensor, list[Tensor]]:
    """Return the places of the victims that all repetitions share, in the first one, and the guesses of just these."""
    shared = set.intersection(*(set(repetition.victims.records.tolist()) for repetition in repetitions))
    places, guesses = [], []
    for repetition in repetitions:
        where = {record: place for place, record in enumerate(repetition.victims.records.tolist()) if record in shared}
        places.append(torch.tensor([where[record] for record in sorted(shared)]))
        guesses.append(guess_of(repetition)[places[-1]])
    return places[0], guesses


def in_best_order(repetition: Repetition) -> Repetition:
    """Return a repetition whose guessed images are in the order, within each client's, that fits the truth best.

    For guesses from a weight update alone, which does not say in which order a client has its records. The order is the
    one of least squared error (Hungarian assignment).
    """
    from scipy.optimize import linear_sum_assignment  # scipy takes a while to load

    sizes = [len(recording.truth.records) for recording in repetition.victims.recordings]
    ordered = []
    guessed, truths = torch.split(guess_of(repetition), sizes), torch.split(repetition.victims.truth, sizes)
    for own, truth in zip(guessed, truths, strict=True):
        apart = torch.cdist(truth.flatten(1).double(), own.flatten(1).double()).square()
        _, places = linear_sum_assignment(apart.numpy())
        ordered.append(own[torch.from_numpy(places)])
    return replace(repetition, guess=torch.cat(ordered))


def guess_of(repetition: Repetition) -> Tensor:
    """Return the guess of a repetition that has one."""
    assert repetition.guess is not None
    return repetition.guess
