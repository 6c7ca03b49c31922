"""The adversary's auxiliary knowledge, and images that no client holds: its own, the judge's, and non-members."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.data.preprocess import unit
from dtfl_private.errors import InputError
from dtfl_private.plugins.specification import named_object
from dtfl_private.protocol.adversaries import AUXILIARY_KINDS, AuxiliaryKind
from dtfl_private.randomness import stream

# Of the auxiliary images, the share that tunes and stops early; the rest trains.
VALIDATION_SHARE = 1 / 6

# Of the test images, the share at most that is set aside as non-members.
NON_MEMBER_SHARE = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """The adversary's auxiliary knowledge, ``same``, ``shifted:DATASET``, ``architecture`` or ``none``."""

    kind: AuxiliaryKind
    dataset: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Knowledge":
        """Read the value of ``--aux``.

        Raises:
            InputError: it is none of the four.
        """
        kind, colon, dataset = text.strip().partition(":")
        if kind not in AUXILIARY_KINDS or bool(colon) != (kind == "shifted") or (colon and not dataset):
            raise InputError(f"auxiliary knowledge '{text}' is none of same, shifted:DATASET, architecture, none")
        return cls(kind=kind, dataset=dataset or None)


@dataclass(frozen=True, kw_only=True)
class AuxiliarySplit:
    """Images that no client holds: the adversary's, the judge's, and those set aside as non-members.

    Attributes:
        auxiliary: the adversary's data; None if it has none.
        judging: data for whoever judges the guesses; the adversary's, if these are of the clients' distribution.
        train_places: places in the test set of the images in ``judging`` to train on.
        validation_places: places in the test set of those to tune and stop early by.
        non_member_places: places in the test set of the non-members.
    """

    auxiliary: Auxiliary | None
    judging: Auxiliary
    train_places: Tensor
    validation_places: Tensor
    non_member_places: Tensor


def split_auxiliary(
    opened: OpenedRun, knowledge: Knowledge, images: int, aux_dir: Path | None = None
) -> AuxiliarySplit:
    """Deal out images that no client holds: those of the test set, or also another data set's.

    The split is the same for every attack on a run. Test images that are, pixel by pixel, training images are left out.

    Args:
        opened: the run.
        knowledge: what the adversary knows.
        images: how many auxiliary images there are at most.
        aux_dir: folder of another data set's files; None for where it looks for itself.

    Raises:
        InputError: too few images are left, or the other data set's are of another kind.
    """
    worker = opened.prepared.worker
    order = torch.from_numpy(stream(worker.seed, "auxiliary").permutation(len(worker.test_labels)))
    order = order[~_also_in(worker.test_images[order], worker.train_images)]
    non_members, rest = order.tensor_split([int(len(order) * NON_MEMBER_SHARE)])
    train, validation = _parts(rest[:images])
    name = opened.prepared.config.dataset
    judging = _auxiliary(name, worker.test_images, worker.test_labels, train, validation)
    auxiliary: Auxiliary | None = judging if knowledge.kind == "same" else None
    if knowledge.dataset is not None:
        auxiliary = _shifted(opened, knowledge.dataset, images, aux_dir)
    return AuxiliarySplit(
        auxiliary=auxiliary,
        judging=judging,
        train_places=train,
        validation_places=validation,
        non_member_places=non_members,
    )


def _parts(places: Tensor) -> tuple[Tensor, Tensor]:
    if len(places) < 12:
        raise InputError(
            f"{len(places)} auxiliary images are too few to train and tune by, 12 are needed: allow more, or if the "
            "test set has no more (some of it is kept apart as non-members), use a data set with a larger test set"
        )
    train, validation = places.tensor_split([len(places) - max(2, round(len(places) * VALIDATION_SHARE))])
    return train, validation


def _auxiliary(name: str, images_u8: Tensor, labels: Tensor, train: Tensor, validation: Tensor) -> Auxiliary:
    return Auxiliary(
        name=name,
        images=unit(images_u8[train]),
        labels=labels[train],
        validation_images=unit(images_u8[validation]),
        validation_labels=labels[validation],
    )


def _shifted(opened: OpenedRun, name: str, images: int, aux_dir: Path | None) -> Auxiliary:
    config, worker = opened.prepared.config, opened.prepared.worker
    allowed = named_object("dataset", name)  # the user names it, never a file
    other = load_dataset(name, data_dir=aux_dir, download=False, allowed=allowed)
    if not isinstance(other, ImageDataset) or other.input_shape != tuple(worker.train_images.shape[1:]):
        raise InputError(
            f"auxiliary data set '{name}' has inputs of shape {other.input_shape}, the clients' images "
            f"{tuple(worker.train_images.shape[1:])}: choose one of the same shape"
        )
    if len(other.classes) > worker.classes:
        raise InputError(
            f"auxiliary data set '{name}' has {len(other.classes)} classes, {config.dataset} {worker.classes}: "
            "choose one with no more"
        )
    # Of data that overlap with the run's own, nothing that a client holds or that the judge uses.
    known = torch.cat([worker.train_images, worker.test_images])
    free = torch.from_numpy(stream(worker.seed, "auxiliary", name).permutation(len(other.train_labels)))
    order = free[~_also_in(other.train_images[free], known)][:images]
    return _auxiliary(other.name, other.train_images, other.train_labels, *_parts(order))


def _also_in(images: Tensor, others: Tensor) -> Tensor:
    """Return which images (N, ...) uint8 are, pixel by pixel, also among ``others``: bool (N,)."""
    known = {other.tobytes() for other in others.numpy()}
    return torch.tensor([image.tobytes() in known for image in images.numpy()], dtype=torch.bool)
