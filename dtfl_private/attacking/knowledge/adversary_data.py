"""The adversary's auxiliary knowledge, and images that no victim is among: its own, the judge's, and non-members."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.data.dataset import Dataset, TokenDataset, load_dataset
from dtfl_private.data.preprocess import plain
from dtfl_private.errors import InputError
from dtfl_private.plugins.specification import named_object
from dtfl_private.protocol.adversaries import AUXILIARY_KINDS, AuxiliaryKind
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import stream

# What stands behind a colon, and how many digits a client's number has at most.
NAMES_MORE = ("client", "shifted")
DIGITS = 10

# Of the auxiliary images, the share that tunes and stops early; the rest trains.
VALIDATION_SHARE = 1 / 6

# Of the test images, the share at most that is set aside as non-members.
NON_MEMBER_SHARE = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """The adversary's auxiliary knowledge, as `parse` reads it.

    Attributes:
        kind: which.
        dataset: of ``shifted``: another data set's name.
        client: of ``client``: whose images it has.
    """

    kind: AuxiliaryKind
    dataset: str | None = None
    client: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Knowledge":
        """Read the value of ``--aux``.

        Raises:
            InputError: it is none of the six.
        """
        kind, colon, more = text.strip().partition(":")
        known = next((name for name in AUXILIARY_KINDS if name == kind), None)
        number = more.isascii() and more.isdigit() and len(more) < DIGITS
        if known is None or bool(more) != (known in NAMES_MORE) or bool(colon) != bool(more):
            known = None
        if known is None or (known == "client" and not number):
            expected = "same, mixture, client:K, shifted:DATASET, architecture, none"
            raise InputError(f"auxiliary knowledge '{text}' is none of {expected}")
        return cls(
            kind=known,
            dataset=more if known == "shifted" else None,
            client=int(more) if known == "client" else None,
        )


@dataclass(frozen=True, kw_only=True)
class AuxiliarySplit:
    """Images that are no victims: the adversary's, the judge's, and those set aside as non-members.

    Numbers of records are those of `IndexSets`: from the training set's size on they count the test set's.

    Attributes:
        auxiliary: the adversary's data; None if it has none.
        judging: test images for whoever judges the guesses, from all classes.
        prior: what trivial guesses of labels go by: the adversary's data, or those of the judge where the adversary has
            none with these classes.
        train_records: of the images that the adversary trains on, or the judge where the adversary's are from elsewhere
            or there are none.
        validation_records: of those that it tunes and stops early by, likewise.
        non_member_places: places in the test set of the non-members.
    """

    auxiliary: Auxiliary | None
    judging: Auxiliary
    prior: Auxiliary
    train_records: Tensor
    validation_records: Tensor
    non_member_places: Tensor


def split_auxiliary(
    opened: OpenedRun,
    knowledge: Knowledge,
    images: int,
    aux_dir: Path | None = None,
    clients: Collection[int] | None = None,
) -> AuxiliarySplit:
    """Deal out images that no victim is among: of the test set, and also of a client or of another data set.

    The split of the test set is the same for every attack on a run. Test images that are, pixel by pixel, training
    images are left out.

    Args:
        opened: the run.
        knowledge: what the adversary knows.
        images: how many auxiliary images there are at most.
        aux_dir: folder of another data set's files; None for where it looks for itself.
        clients: that are attacked, for the shares of their classes; None for all of the last round.

    Raises:
        InputError: too few images are left, no client has this number, or the other data set's are of another kind.
    """
    worker = opened.prepared.worker
    order = torch.from_numpy(stream(worker.seed, "auxiliary").permutation(len(worker.test_labels)))
    order = order[~_also_in(worker.test_images[order], worker.train_images)]
    non_members, rest = order.tensor_split([int(len(order) * NON_MEMBER_SHARE)])
    train, validation = (len(worker.train_labels) + part for part in _parts(rest[:images]))
    judging = _of_run(opened, train, validation)
    auxiliary: Auxiliary | None = judging if knowledge.kind == "same" else None
    if knowledge.kind in ("mixture", "client"):
        own = _mixture(opened, rest, images, clients) if knowledge.client is None else _of_client(opened, knowledge)
        train, validation = _parts(own[:images])
        auxiliary = _of_run(opened, train, validation)
    prior = judging if auxiliary is None else auxiliary
    if knowledge.dataset is not None:
        auxiliary = _shifted(opened, knowledge.dataset, images, aux_dir)
    return AuxiliarySplit(
        auxiliary=auxiliary,
        judging=judging,
        prior=prior,
        train_records=train,
        validation_records=validation,
        non_member_places=non_members,
    )


def _mixture(opened: OpenedRun, free: Tensor, images: int, clients: Collection[int] | None) -> Tensor:
    """Return records of the test set, in random order, with the shares of the attacked clients' classes.

    There are as many as are asked for, or as the class that is scarcest, given its share, has images for.

    Args:
        opened: the run.
        free: places (N,) in the test set of images that may be taken, in random order.
        images: how many at most.
        clients: that are attacked.
    """
    worker = opened.prepared.worker
    own = [task.client for task in opened.tasks] if clients is None else clients
    held = torch.cat([worker.train_labels[torch.as_tensor(worker.parts[client])] for client in own])
    shares = torch.bincount(held, minlength=worker.classes).double() / len(held)
    labels = worker.test_labels[free]
    there = torch.bincount(labels, minlength=worker.classes)
    enough = torch.where(shares > 0, there / shares.clamp(min=1e-12), torch.inf).min()
    counts = _whole(shares * min(images, float(enough)))
    taken = torch.cat([free[labels == label][:count] for label, count in enumerate(counts.tolist())])
    rng = stream(worker.seed, "auxiliary", "mixture")
    return len(worker.train_labels) + taken[torch.from_numpy(rng.permutation(len(taken)))]


def _whole(counts: Tensor) -> Tensor:
    """Return whole numbers (classes,) near these, with the same sum, rounded down: the largest rests are rounded up."""
    down = counts.floor().long()
    missing = int(counts.sum() + 1e-6) - int(down.sum())
    down[torch.argsort(down - counts, stable=True)[:missing]] += 1
    return down


def _of_client(opened: OpenedRun, knowledge: Knowledge) -> Tensor:
    """Return a client's training records in random order, without images that, pixel by pixel, others hold too."""
    worker = opened.prepared.worker
    assert knowledge.client is not None
    if knowledge.client >= len(worker.parts):
        raise InputError(f"--aux client:{knowledge.client} names no client: there are 0 to {len(worker.parts) - 1}")
    own = torch.as_tensor(worker.parts[knowledge.client])
    others = torch.ones(len(worker.train_labels), dtype=torch.bool)
    others[own] = False
    own = own[~_also_in(worker.train_images[own], worker.train_images[others])]
    rng = stream(worker.seed, "auxiliary", "client", knowledge.client)
    return own[torch.from_numpy(rng.permutation(len(own)))]


def _parts(places: Tensor) -> tuple[Tensor, Tensor]:
    if len(places) < 12:
        raise InputError(
            f"{len(places)} auxiliary images are too few to train and tune by, 12 are needed: allow more, or if the "
            "test set has no more (some of it is kept apart as non-members), use a data set with a larger test set; "
            "of --aux mixture and client:K the attacked clients' scarcest class and client K's images set the bound"
        )
    train, validation = places.tensor_split([len(places) - max(2, round(len(places) * VALIDATION_SHARE))])
    return train, validation


def _of_run(opened: OpenedRun, train: Tensor, validation: Tensor) -> Auxiliary:
    """Return records of the run's data set, by their numbers."""
    worker = opened.prepared.worker
    numbers = torch.cat([train, validation])
    trained_on, places = numbers < len(worker.train_labels), (numbers - len(worker.train_labels)).clamp(min=0)
    images, labels = worker.test_images[places], worker.test_labels[places]
    images[trained_on] = worker.train_images[numbers[trained_on]]
    labels[trained_on] = worker.train_labels[numbers[trained_on]]
    parts = torch.arange(len(numbers)).tensor_split([len(train)])
    return _auxiliary(opened.prepared.config.dataset, images, labels, *parts, vocabulary=opened.vocabulary)


def _auxiliary(
    name: str, images_u8: Tensor, labels: Tensor, train: Tensor, validation: Tensor, *, vocabulary: Vocabulary | None
) -> Auxiliary:
    return Auxiliary(
        name=name,
        images=plain(images_u8[train]),
        labels=labels[train],
        validation_images=plain(images_u8[validation]),
        validation_labels=labels[validation],
        padding=None if vocabulary is None else vocabulary.padding,
    )


def _shifted(opened: OpenedRun, name: str, images: int, aux_dir: Path | None) -> Auxiliary:
    config, worker = opened.prepared.config, opened.prepared.worker
    allowed = named_object("dataset", name)  # the user names it, never a file
    other = load_dataset(name, data_dir=aux_dir, download=False, allowed=allowed)
    own, there = (
        "images" if vocabulary is None else "sequences of tokens"
        for vocabulary in (opened.vocabulary, _vocabulary_of(other))
    )
    if own != there or other.input_shape != tuple(worker.train_images.shape[1:]):
        raise InputError(
            f"auxiliary data set '{name}' has {there} of shape {other.input_shape}, the clients {own} of "
            f"{tuple(worker.train_images.shape[1:])}: choose one of the same kind and shape"
        )
    if opened.vocabulary != _vocabulary_of(other):
        raise InputError(f"auxiliary data set '{name}' has other tokens than {config.dataset}: give both one tokenizer")
    if len(other.classes) > worker.classes:
        raise InputError(
            f"auxiliary data set '{name}' has {len(other.classes)} classes, {config.dataset} {worker.classes}: "
            "choose one with no more"
        )
    # Of data that overlap with the run's own, nothing that a client holds or that the judge uses.
    known = torch.cat([worker.train_images, worker.test_images])
    free = torch.from_numpy(stream(worker.seed, "auxiliary", name).permutation(len(other.train_labels)))
    order = free[~_also_in(other.train_images[free], known)][:images]
    return _auxiliary(other.name, other.train_images, other.train_labels, *_parts(order), vocabulary=opened.vocabulary)


def _vocabulary_of(dataset: Dataset) -> Vocabulary | None:
    """Return what the numbers of a data set's sequences mean; None of images."""
    return dataset.tokens if isinstance(dataset, TokenDataset) else None


def _also_in(images: Tensor, others: Tensor) -> Tensor:
    """Return which stored inputs (N, ...) are, value by value, also among ``others``: bool (N,)."""
    known = {other.tobytes() for other in others.numpy()}
    return torch.tensor([image.tobytes() in known for image in images.numpy()], dtype=torch.bool)
