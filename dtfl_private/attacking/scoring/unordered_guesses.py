"""Trivial guesses at the images of clients whose records come in no order, put into the order that fits best.

An order that is found by the truth gives any images some advantage, even those that have nothing to do with the client.
So what an attack on such clients must beat are images without the client's update, ordered in the same way: auxiliary
images, and what auxiliary images have in common in as many groups as there are records.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.scoring.repetitions import Repetition, guess_of, in_best_order
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.leakage.results.result_heading import Heading


def unordered_guesses(victims: Victims, known: Auxiliary | None, heading: Heading) -> Mapping[str, Tensor]:
    """Return trivial guesses (victims, C, H, W), by name, each client's in the best order; none without images.

    Args:
        victims: their clients' rounds, with the truth.
        known: the adversary's images.
        heading: whose streams draw the guesses.
    """
    if known is None:
        return {}
    rng = heading.draws("unordered guesses")
    sizes = [len(recording.truth.records) for recording in victims.recordings]
    return {
        "auxiliary-images": _ordered(victims, [_drawn(known.images, size, rng) for size in sizes]),
        "auxiliary-groups": _ordered(victims, [_groups(known.images, size, rng) for size in sizes]),
    }


def _ordered(victims: Victims, guesses: list[Tensor]) -> Tensor:
    return guess_of(in_best_order(Repetition(victims=victims, tampering=None, guess=torch.cat(guesses))))


def _drawn(images: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Return so many of the images, each once as long as there are enough."""
    return images[torch.from_numpy(rng.choice(len(images), count, replace=count > len(images)))]


def _groups(images: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Return the means of so many groups of alike images (k-means); the same once more where images are too few."""
    from sklearn.cluster import MiniBatchKMeans  # scikit-learn takes a while to load

    groups = min(count, len(images))
    fit = MiniBatchKMeans(groups, n_init=1, random_state=int(rng.integers(2**31))).fit(images.flatten(1).numpy())
    means = torch.from_numpy(fit.cluster_centers_).to(images.dtype).view(-1, *images.shape[1:])
    return means[torch.arange(count) % groups]
