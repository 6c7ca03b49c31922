"""How a model does client by client: fairness is how far the worst are behind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtfl_private.protocol.contracts import IntArray

OWN = "each client's own validation images"
BY_CLASS = "test images, each class weighted by its share of the client's training images"


def of_own_images(right_N: Any, judged_N: Any, owned: Mapping[int, tuple[int, int]], clients: int) -> dict[str, Any]:
    """Return the clients' accuracies on images of their own, as in Li et al. (ICLR 2020, q-FFL).

    Args:
        right_N: whether each image is answered rightly, bool.
        judged_N: whether it was judged at all, bool.
        owned: where each client's images begin and end.
        clients: number of clients; those without images have no accuracy.
    """
    accuracies: list[float | None] = [None] * clients
    images = [0] * clients
    for client, (start, stop) in owned.items():
        own = judged_N[start:stop]
        if own.any():
            accuracies[client] = float(right_N[start:stop][own].mean())
            images[client] = int(own.sum())
    return _figures(OWN, accuracies, images)


def by_class_shares(per_class: Sequence[Mapping[str, Any]], counts_KC: IntArray) -> dict[str, Any]:
    """Return the accuracies that clients would have on test images of their own mixture of classes.

    Client k's is the sum over classes c of p_kc recall_c, with p_kc the share of c among its images. That is
    the personal accuracy of Chen and Chao (ICLR 2022, FedRoD) where the test set has equally many images of each class.
    It sees what classes a client has, not how its images of a class differ from the others'.

    Args:
        per_class: figures of each class on the test images.
        counts_KC: each client's training images of each class.
    """
    there_C = np.array([one["recall"] is not None for one in per_class])
    recall_C = np.array([one["recall"] or 0.0 for one in per_class])
    support_C = np.array([one["support"] for one in per_class])
    accuracies: list[float | None] = []
    images = []
    for counts_C in counts_KC:
        known = int(counts_C[there_C].sum())
        accuracies.append(float((counts_C * recall_C)[there_C].sum() / known) if known else None)
        images.append(int(support_C[counts_C > 0].sum()))
    return _figures(BY_CLASS, accuracies, images)


def _figures(on: str, accuracies: Sequence[float | None], images: Sequence[int]) -> dict[str, Any]:
    """Return the accuracies by client, and how they spread: each client counts once, however many images it has."""
    known = {client: accuracy for client, accuracy in enumerate(accuracies) if accuracy is not None}
    values = np.array(list(known.values()))
    worst = min(known, key=known.__getitem__) if known else None
    return {
        "judged_on": on,
        "n": len(known),
        "mean": float(values.mean()) if known else None,
        "std": float(values.std()) if known else None,
        "worst": None if worst is None else known[worst],
        "worst_client": worst,
        "tenth_percentile": float(np.percentile(values, 10)) if known else None,
        "accuracy": {str(client): accuracy for client, accuracy in enumerate(accuracies)},
        "images": {str(client): count for client, count in enumerate(images)},
    }
