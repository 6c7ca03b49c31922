"""Trivial guesses that an attack falls back to, where what it has trained serves no better on validation images.

They are those that results are compared with (`trivial_guesses`), of the labels as they were sent, so that an attack
that returns one is seen to have found nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacks.shared.decoder_training import DecoderTraining, Lessons, error_on
from dtfl_private.leakage.baselines import Known
from dtfl_private.leakage.results.image_results import ATTAINABLE, trivial_guesses

Guess = Callable[[Tensor], Tensor]
"""From labels as sent (N,) to images (N, C, H, W), on the labels' device."""


def guesses_of(data: Auxiliary) -> Mapping[str, Guess]:
    """Return the trivial guesses that need auxiliary images and sent labels alone, by name."""
    return {name: partial(_guessed, data, name) for name in ATTAINABLE}


def _guessed(data: Auxiliary, name: str, labels: Tensor) -> Tensor:
    nothing = data.images[:0]  # of the truth
    known = Known(images=data.images, labels=data.labels, victim_labels=labels.cpu(), truth=nothing)
    return trivial_guesses(known, nothing)[name].to(labels.device)


def errors_of_guesses(lessons: Lessons, training: DecoderTraining) -> dict[str, Tensor]:
    """Return the error of each trivial guess on validation images, as decoders are judged: scalars, float64."""
    validation, errors = lessons.validation(), {}
    for name, guess in guesses_of(lessons.images).items():
        error = error_on(partial(of_labels, guess), validation, training, lessons.features)
        errors[name] = torch.tensor(error, dtype=torch.float64)
    return errors


def of_labels(guess: Guess, _: Tensor, labels: Tensor) -> Tensor:
    """Return a trivial guess where something is asked for that decodes activations, too."""
    return guess(labels)


def better_guess(error: float, errors: Mapping[str, Tensor], data: Auxiliary) -> Guess | None:
    """Return the best trivial guess, if a decoder of this error on validation images is no better; None if it is."""
    name = min(errors, key=lambda one: float(errors[one]))
    return None if error < float(errors[name]) else guesses_of(data)[name]
