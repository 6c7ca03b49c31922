"""Repetitions of an attack, and the victims that all of them have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Return the victims' labels (N,) as they were sent: what an adversary knows of them."""
    return torch.cat([batch.labels.cpu() for seen in victims.seen for batch in seen.batches])


def common_victims(repetitions: Sequence[Repetition]) -> tuple[Tensor, list[Tensor]]:
    """Return the places of the victims that all repetitions share, in the first one, and the guesses of just these."""
    shared = set.intersection(*(set(repetition.victims.records.tolist()) for repetition in repetitions))
    places, guesses = [], []
    for repetition in repetitions:
        where = {record: place for place, record in enumerate(repetition.victims.records.tolist()) if record in shared}
        places.append(torch.tensor([where[record] for record in sorted(shared)]))
        guesses.append(guess_of(repetition)[places[-1]])
    return places[0], guesses


def guess_of(repetition: Repetition) -> Tensor:
    """Return the guess of a repetition that has one."""
    assert repetition.guess is not None
    return repetition.guess
