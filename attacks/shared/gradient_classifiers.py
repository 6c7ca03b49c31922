"""Linear classifiers from gradients to true labels, of which the best on records held back is taken."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dtfl_private.attacks.shared.pair_discriminant import PairDiscriminant, true_label_evidence

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Principal components of the features, at most, and records for each of them, at least.
COMPONENTS, RECORDS_PER_COMPONENT = 128, 3
# Of logistic regressions, and shares of the identity in the covariance of discriminants.
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
SHRINKAGES = (0.05, 0.3)
# Points that discriminants are evaluated on at once: there is a number for each pair of classes.
CHUNK = 256

Classifier = Callable[[Tensor], Tensor]
"""From features (N, D) of gradients to true labels (N,), int64."""


class Examples(NamedTuple):
    """Features (N, D) of gradients, and the true and the sent labels (N,) of their records."""

    features: Tensor
    true: Tensor
    sent: Tensor


def best_classifier(train: Examples, held: Examples, channel: Tensor, *, seed: int) -> Classifier:
    """Return the classifier of true labels that is right most often on examples held back.

    Args:
        train: to learn from.
        held: to choose by.
        channel: (classes, classes), probability of each sent label (column) given the true one (row).
        seed: of the principal components.
    """
    reduce = _components(train.features, seed)
    reduced = train._replace(features=reduce(train.features))
    points = reduce(held.features)

    def right(classify: Classifier) -> float:
        return float((classify(points) == held.true).double().mean())

    best = max([*_logistic(reduced), *_discriminants(reduced, channel)], key=right)
    return lambda features: best(reduce(features))


def _components(features: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what takes features (N, D) to their principal components."""
    from sklearn.decomposition import PCA  # scikit-learn takes a while to load

    count = min(COMPONENTS, len(features) // RECORDS_PER_COMPONENT, features.shape[1])
    found = PCA(max(count, 1), random_state=seed % 2**32).fit(features.numpy())
    return lambda given: torch.from_numpy(np.asarray(found.transform(given.numpy()), dtype=np.float64))


def _logistic(train: Examples) -> Iterator[Classifier]:
    """Yield logistic regressions of the true label, of several strengths; none where there is one label alone."""
    from sklearn.linear_model import LogisticRegression

    for strength in STRENGTHS if len(torch.unique(train.true)) > 1 else ():
        fitted = LogisticRegression(C=strength, max_iter=300).fit(train.features.numpy(), train.true.numpy())
        yield partial(_predicted, fitted)


def _predicted(fitted: "LogisticRegression", points: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(fitted.predict(points.numpy()), dtype=np.int64))


def _discriminants(train: Examples, channel: Tensor) -> Iterator[Classifier]:
    """Yield discriminants of pairs of true and sent label, of several shrinkages, with the sent label summed out."""
    for shrinkage in SHRINKAGES:
        pairs = PairDiscriminant.fit(*train, classes=len(channel), shrinkage=shrinkage)
        yield partial(_likeliest, pairs, channel)


def _likeliest(pairs: PairDiscriminant, channel: Tensor, points: Tensor) -> Tensor:
    parts = [true_label_evidence(pairs.log_likelihoods(part), channel) for part in torch.split(points, CHUNK)]
    return torch.cat(parts).argmax(dim=1)
