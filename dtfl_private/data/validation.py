"""Validation images: training images that no client trains on, held by the server or by the clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dtfl_private.data.dataset import Dataset
from dtfl_private.data.drawing import stratified_places
from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.randomness import stream

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ValidationImages:
    """Images that a run is watched by while it trains.

    Attributes:
        images: uint8 (N, *input shape).
        labels: int64 (N,).
        owned: where the images of each client begin and end that holds some; empty if the server holds them.
    """

    images: "Tensor"
    labels: "Tensor"
    owned: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def held_by_server(dataset: Dataset, places: IntArray) -> ValidationImages:
    """Return the training images at these places."""
    import torch

    chosen = torch.from_numpy(places)
    return ValidationImages(images=dataset.train_images[chosen], labels=dataset.train_labels[chosen])


def held_back(
    dataset: Dataset, parts: Sequence[IntArray], share: float, seed: int
) -> tuple[Dataset, list[IntArray], ValidationImages]:
    """Let each client keep back a share of its images, each class in its proportion, and at least one to train on.

    Who got which images does not change by it. A client with so few that its share is less than half an image keeps
    none back.

    Args:
        dataset: of the run.
        parts: indices of each client's images.
        share: of each client's images.
        seed: of the draw.

    Returns:
        The data set without these images, the indices of what each client trains on there, and the images.

    Raises:
        InputError: no client keeps back any.
    """
    import torch

    labels = dataset.train_labels.numpy()
    held_K = [
        stratified_places(
            labels, part, min(round(share * len(part)), len(part) - 1), stream(seed, "validation", client)
        )
        for client, part in enumerate(parts)
    ]
    held = np.concatenate(held_K)
    if not len(held):
        raise InputError(
            f"validation {share:g} of what each client has, {max(map(len, parts))} images at most, is none: "
            "raise validation, or give validation_held_by = server"
        )
    kept = np.setdiff1d(np.arange(len(labels)), held)
    left = torch.from_numpy(kept)
    training = replace(
        dataset,
        train_images=dataset.train_images[left],
        train_labels=dataset.train_labels[left],
        client_ids=None if dataset.client_ids is None else dataset.client_ids[left],
    )
    # An image's new place is the number of kept ones before it.
    own = [np.searchsorted(kept, np.setdiff1d(part, gone)) for part, gone in zip(parts, held_K, strict=True)]
    ends = np.cumsum([len(gone) for gone in held_K]).tolist()
    owned = {
        client: (end - len(gone), end) for client, (gone, end) in enumerate(zip(held_K, ends, strict=True)) if len(gone)
    }
    return training, own, replace(held_by_server(dataset, held), owned=owned)
