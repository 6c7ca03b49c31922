"""Counted labels or properties meet the true ones: which record has which is neither known nor asked."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dtfl_private.attacking.base import AttributeInference
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.scoring.judged import Judged, Scored
from dtfl_private.attacking.scoring.repetitions import Repetition, guess_of
from dtfl_private.leakage.intervals import difference_interval, metric_interval
from dtfl_private.leakage.metrics import ACCURACY
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import Advantage, distinct, together
from dtfl_private.protocol.contracts import FloatArray

# Draws of the permutation test: enough for the level of an audit's tests.
DRAWS = 200_000


def label_count_results(repetitions: Sequence[Repetition], known: Auxiliary, heading: Heading) -> Judged:
    """Return for how many records of each client a label was counted that some record of it has.

    The trivial guess has the label shares of auxiliary data.

    Args:
        repetitions: one per seed, each with a guess: labels of each client in any order.
        known: labelled data of the judge's, for the shares.
        heading: of the results.
    """
    truths = [recording.truth.labels for recording in repetitions[0].victims.recordings]
    classes = 1 + int(max(known.labels.max(), *(own.max() for own in truths)))
    shares = torch.bincount(known.labels, minlength=classes).double() / len(known.labels)
    prior_KC = torch.tensor([len(own) for own in truths])[:, None] * shares
    return _judged(repetitions, truths, ("label-shares", prior_KC), heading)


def attribute_count_results(
    attack: AttributeInference, repetitions: Sequence[Repetition], known: Auxiliary, heading: Heading
) -> Judged:
    """Return for how many records of each client a value of a property was counted that some record of it has.

    The trivial guess knows the client's labels, and has the shares of the values in each class of auxiliary data.

    Args:
        attack: whose property it is.
        repetitions: one per seed, each with a guess: values of each client in any order.
        known: labelled data of the judge's.
        heading: of the results.
    """
    victims = repetitions[0].victims
    recordings = victims.recordings
    labels = [recording.truth.labels for recording in recordings]
    truth = attack.values(victims.truth, victims.labels, known)
    values = attack.values(known.images, known.labels, known)
    kinds = 1 + int(max(values.max(), truth.max()))
    shares = torch.stack([_shares(values[known.labels == label], values, kinds) for label in range(_above(labels))])
    prior_KC = torch.stack([shares[own].sum(dim=0) for own in labels])
    truths = torch.split(truth, [len(own) for own in labels])
    return _judged(repetitions, truths, ("label-prior", prior_KC), heading)


def _above(labels: Sequence[Tensor]) -> int:
    return 1 + int(max(own.max() for own in labels))


def _shares(values: Tensor, otherwise: Tensor, kinds: int) -> Tensor:
    """Return the shares (kinds,) of values; of others where there are none."""
    counted = values if len(values) else otherwise
    return torch.bincount(counted, minlength=kinds).double() / len(counted)


def _judged(
    repetitions: Sequence[Repetition], truths: Sequence[Tensor], trivial: tuple[str, Tensor], heading: Heading
) -> Judged:
    """Return how many counted values can be matched with a client's records, against a trivial guess.

    The p-value is that of a permutation test: if the update says nothing, the values may change places in what a guess
    has beyond the trivial one, in each client by itself.

    Args:
        repetitions: one per seed, each with a guess: values of each client in any order.
        truths: values of each client's records.
        trivial: name of the trivial guess, and its counts (clients, values), which need not be whole.
        heading: of the results.
    """
    sizes, (name, prior_KC) = [len(own) for own in truths], trivial
    kinds = prior_KC.shape[1]
    true_KC = torch.stack([torch.bincount(own, minlength=kinds) for own in truths])
    guesses = [guess_of(repetition) for repetition in repetitions]
    found_SKC = torch.stack([_counts(guesses[place], sizes, kinds) for place in distinct(guesses)])
    scored = np.stack([_matched(found_KC, true_KC) for found_KC in found_SKC])
    expected = _matched(prior_KC, true_KC)
    interval = metric_interval(ACCURACY, scored, heading.draws("accuracy"))
    apart = difference_interval(scored, np.broadcast_to(expected, scored.shape), heading.draws("accuracy-advantage"))
    beyond = (found_SKC - prior_KC, true_KC - prior_KC)
    advantage = Advantage(found=apart, p_value=_permuted(*beyond, heading.draws("accuracy-permutations")))
    baseline, sizes_of = (name, float(expected.mean())), {"n": scored.shape[1], "seeds": len(scored)}
    result = heading.result("accuracy", interval, baseline=baseline, advantage=advantage, **sizes_of)
    records = repetitions[0].victims.records
    found = Scored(truth=torch.cat(list(truths)), records=records, scores={"accuracy": [scored]}, trivial=expected)
    return Judged(results=[result], scored=found)


def _counts(guess: Tensor, sizes: Sequence[int], classes: int) -> Tensor:
    """Return how often each class was guessed, int64 (clients, classes); numbers beyond the classes are nobody's."""
    parts = torch.split(guess, list(sizes))
    return torch.stack([torch.bincount(own[(own >= 0) & (own < classes)], minlength=classes) for own in parts])


def _matched(found_KC: Tensor, true_KC: Tensor) -> FloatArray:
    """Return for each record (N,), client by client and class by class, how much of it is matched by a counted label.

    Of counts that are no whole numbers, as those of the trivial guess, one record of a class may be matched in part.
    """
    rows = []
    for found, true in zip(found_KC.double().flatten(), true_KC.flatten(), strict=True):
        place = torch.arange(int(true), dtype=torch.float64)
        rows.append((found - place).clamp(0, 1))
    return np.asarray(torch.cat(rows).numpy())


def _permuted(found_SKC: Tensor, true_KC: Tensor, rng: np.random.Generator) -> float:
    """Return the p-value of the agreement of two residuals of counts, by permutations of the classes."""
    found, true = found_SKC.double().numpy(), true_KC.double().numpy()
    agreement_S = (found * true).sum(axis=(1, 2))
    reached_S = np.zeros(len(found))
    for _ in range(DRAWS // 1000):
        orders = rng.random((1000, *true.shape)).argsort(axis=-1)
        drawn = np.take_along_axis(np.broadcast_to(true, orders.shape), orders, axis=-1)
        reached_S += (np.einsum("skc,bkc->sb", found, drawn) >= agreement_S[:, None] - 1e-9).sum(axis=1)
    return float(together((1 + reached_S) / (1 + DRAWS)))
