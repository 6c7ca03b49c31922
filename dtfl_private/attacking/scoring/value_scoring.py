"""Guessed properties and labels meet the true ones, trivial guesses, and what the raw images would tell."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.base import Attack, AttributeInference
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.scoring.judged import Judged, Scored
from dtfl_private.attacking.scoring.repetitions import Repetition, common_victims, sends_labels, sent_labels
from dtfl_private.leakage.ceiling import raw_pixel_guess
from dtfl_private.leakage.image_metrics import correct
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.results.value_results import right_guesses, value_results
from dtfl_private.leakage.token_metrics import real_tokens


def inference_results(
    attack: Attack, setup: AttackSetup, repetitions: Sequence[Repetition], heading: Heading
) -> Judged:
    """Return how right the guesses of a property, or of the labels, are.

    Args:
        attack: whose guesses they are.
        setup: of the run and its data.
        repetitions: one per seed, each with a guess.
        heading: of the results.
    """
    common, guesses = common_victims(repetitions)
    victims = repetitions[0].victims
    images, labels = victims.truth[common], victims.labels[common]
    auxiliary = setup.split.judging
    if isinstance(attack, AttributeInference):
        truth = attack.values(images, labels, auxiliary)
        known = attack.values(auxiliary.images, auxiliary.labels, auxiliary)
        trivial = {
            "majority": known.mode().values.expand(len(truth)),
            "label-prior": majority_by_label(known, auxiliary.labels, labels),
        }
        ceiling: dict[str, Tensor] = {}
        if images.ndim == 2:  # of a text itself, how many tokens it has shows; all of it tells the property
            trivial["label-and-length"] = _by_label_and_length(known, auxiliary, images, labels)
        else:
            ceiling["raw-pixels"] = _raw_pixels(attack, setup, images, labels, known)
        results = value_results(guesses, truth, trivial, ceiling, heading)
        return _judged(guesses, truth, trivial, victims.records[common], results)
    trivial = {"majority": setup.split.prior.labels.mode().values.expand(len(labels))}
    if "smashed" in attack.facts.needs and sends_labels(victims):  # otherwise the adversary need not see what was sent
        trivial = {"sent-label": sent_labels(victims)[common], **trivial}
    results = value_results(guesses, labels, trivial, {}, heading)
    return _judged(guesses, labels, trivial, victims.records[common], results)


def _judged(
    guesses: Sequence[Tensor],
    truth: Tensor,
    trivial: Mapping[str, Tensor],
    records: Tensor,
    results: Sequence[Result],
) -> Judged:
    best = max((correct(guess, truth) for guess in trivial.values()), key=lambda right: float(right.mean()))
    scored = Scored(truth=truth, records=records, scores={"accuracy": [right_guesses(guesses, truth)]}, trivial=best)
    return Judged(results=results, scored=scored)


def _raw_pixels(
    attack: AttributeInference, setup: AttackSetup, images: Tensor, labels: Tensor, known: Tensor
) -> Tensor:
    """Return the property as it is guessed from the images themselves, by a classifier of the judge's data."""
    auxiliary, worker = setup.split.judging, setup.opened.prepared.worker
    checked = attack.values(auxiliary.validation_images, auxiliary.validation_labels, auxiliary)
    return raw_pixel_guess(
        images,
        labels,
        train=(auxiliary.images, auxiliary.labels, known),
        validation=(auxiliary.validation_images, auxiliary.validation_labels, checked),
        classes=worker.classes,
        seed=worker.seed,
        device=setup.numerics.device,
    )


def _by_label_and_length(values: Tensor, auxiliary: Auxiliary, texts: Tensor, labels: Tensor) -> Tensor:
    """Return the likelier value for texts (N, T) by their labels and the number of their tokens, which both show."""
    from sklearn.linear_model import LogisticRegression  # scikit-learn takes a while to load

    if len(torch.unique(values)) < 2:
        return values.mode().values.expand(len(texts))
    classes = 1 + int(torch.cat([auxiliary.labels, labels]).max())

    def features(own: Tensor, kinds: Tensor) -> Tensor:
        real = real_tokens(own, auxiliary.padding).double().mean(dim=1, keepdim=True)
        label = F.one_hot(kinds, classes).double()
        return torch.cat([label, label * real], dim=1)

    fitted = LogisticRegression(C=10.0, max_iter=500).fit(features(auxiliary.images, auxiliary.labels), values)
    return torch.from_numpy(np.asarray(fitted.predict(features(texts, labels)), dtype=np.int64))


def majority_by_label(values: Tensor, labels: Tensor, of: Tensor) -> Tensor:
    """Return for each label in ``of`` (N,) the commonest value among auxiliary records of that label."""
    guess = values.mode().values.expand(len(of)).clone()
    for label in set(of.tolist()):
        if (labels == label).any():
            guess[of == label] = values[labels == label].mode().values
    return guess
