"""Trivial guesses that need no smashed data: an attack that is no better than these has shown no leak.

Images are (N, C, H, W) within 0..1, labels (N,) class numbers. Auxiliary images are those of the adversary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.leakage.token_baselines import TOKEN_BASELINES

# Images at a time in the search for the nearest one: a matrix of distances to all of them could fill the memory.
CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Known:
    """What trivial guesses are made from: auxiliary images and labels, and the victims' labels and images.

    ``truth`` is for the oracle alone.
    """

    images: Tensor
    labels: Tensor
    victim_labels: Tensor
    truth: Tensor


def mean_image(images: Tensor, count: int) -> Tensor:
    """Return ``count`` times the mean auxiliary image: the best constant guess under squared error."""
    return images.mean(dim=0, keepdim=True).repeat(count, 1, 1, 1)


def class_mean(images: Tensor, labels: Tensor, victim_labels: Tensor) -> Tensor:
    """Return for each victim the mean auxiliary image of its class, which a server that is sent labels knows.

    For a class without auxiliary images it is the mean of all.
    """
    guesses = mean_image(images, len(victim_labels))
    for label in torch.unique(victim_labels).tolist():
        of_class = labels == label
        if of_class.any():
            guesses[victim_labels == label] = images[of_class].mean(dim=0)
    return guesses


def nearest(images: Tensor, truth: Tensor) -> Tensor:
    """Return for each victim the auxiliary image that is nearest to it by squared error.

    An oracle: it takes the true image to find it. It shows what the best choice among known images would score,
    so that an attack below it has not shown more than that an image is like one that is known.
    """
    rows = images.flatten(1).double()
    norms = rows.square().sum(dim=1)
    # |a - b|^2 without |a|^2, which is the same for all b.
    parts = [(norms - 2 * part.flatten(1).double() @ rows.T).argmin(dim=1) for part in torch.split(truth, CHUNK)]
    return images[torch.cat(parts)]


BASELINES: Mapping[str, Callable[[Known], Tensor]] = {
    "mean-image": lambda known: mean_image(known.images, len(known.victim_labels)),
    "class-mean": lambda known: class_mean(known.images, known.labels, known.victim_labels),
    "nearest-auxiliary": lambda known: nearest(known.images, known.truth),
}
"""Each returns guesses for all victims, in the victims' order."""

GUESSES = frozenset({*BASELINES, *TOKEN_BASELINES})
"""Names of the trivial guesses, of images and of texts, that have results of their own."""

ORACLES = frozenset({"nearest-auxiliary", "nearest-text"})
"""Those that no adversary can make: they need the truth."""
