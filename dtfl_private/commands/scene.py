"""The scene of an attack: victims' recorded rounds, three disjoint sets of records, and what the adversary brings.

Who is a victim: the first batch of each client in the run's last round, for then the server knows the client's weights
exactly; further batches, whose weights have moved on, only when more victims are asked for. Each client is placed in
the tier in question and starts from the same global weights, so that tiers are compared at equal training.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dtfl_private.adversary.program import ClientProgram
from dtfl_private.adversary.view import Auxiliary, Background, Candidates, LocalSteps, Seen, Shadows
from dtfl_private.commands.replay import OpenedRun
from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.defense import DefenseChain
from dtfl_private.errors import InputError
from dtfl_private.federated.recording import Recorder, Recording
from dtfl_private.federated.worker import ClientTask, GlobalWeights
from dtfl_private.messages import ModelDownload, State
from dtfl_private.models.staged import split
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import stream
from dtfl_private.threat import AUXILIARY_KINDS, AuxiliaryKind

Victims = Literal["batches", "rounds"]
"""Which records are attacked: those of clients' first batches, or all that a client's weight update depends on."""

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
class IndexSets:
    """Which records are whose. Numbers below the training set's size count its records, the others the test set's.

    Attributes:
        victims: attacked.
        auxiliary: the adversary trains on them; empty if its data are from elsewhere.
        validation: the adversary tunes by them.
        non_members: to be told from members.
    """

    victims: Tensor
    auxiliary: Tensor
    validation: Tensor
    non_members: Tensor

    def __post_init__(self) -> None:
        named = {name: set(getattr(self, name).tolist()) for name in ("auxiliary", "validation", "non_members")}
        named["victims"] = set(self.victims.tolist())
        names = sorted(named)
        for position, one in enumerate(names):
            for other in names[position + 1 :]:
                if common := named[one] & named[other]:
                    raise ValueError(f"{one} and {other} share {len(common)} records, as {min(common)}")


@dataclass(frozen=True, kw_only=True)
class AuxiliarySplit:
    """Images that no client holds: the adversary's, the judge's, and those set aside as non-members.

    Attributes:
        auxiliary: the adversary's data; None if it has none.
        judging: data for whoever judges the guesses; the adversary's, if these are of the clients' distribution.
        train_places: places in the test set of the images in ``judging``; likewise ``validation_places``.
        validation_places: see there.
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
        raise InputError(f"{len(places)} auxiliary images are too few to train and tune by: allow 12 or more")
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
    other = load_dataset(name, data_dir=aux_dir, download=False)
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


def unit(images_u8: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images_u8.float() / 255


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Recorded rounds of the clients that hold the victims, with their ground truth; also of clients that refused."""

    recordings: Sequence[Recording]

    @property
    def seen(self) -> list[Seen]:
        """What the server saw of the clients that took part."""
        return [recording.seen for recording in self.recordings if recording.seen.batches]

    @property
    def truth(self) -> Tensor:
        """The victims' images (N, C, H, W) in [0, 1], as they were really fed in."""
        return unit(torch.cat([recording.truth.images for recording in self.recordings]))

    @property
    def labels(self) -> Tensor:
        """The victims' true labels (N,)."""
        return torch.cat([recording.truth.labels for recording in self.recordings])

    @property
    def records(self) -> Tensor:
        """The victims' places in the training set (N,)."""
        return torch.cat([recording.truth.records for recording in self.recordings])


def recorded_stage(recordings: Sequence[Recording], tier: int, count: int, kind: Victims) -> Stage:
    """Return the stage of recorded clients in a tier: their first batches until there are ``count`` victims.

    Whole rounds are only those whose client sent an update.
    """
    fit = {
        recording.seen.download.client: recording
        for recording in recordings
        if recording.seen.download.tier == tier and (kind == "batches" or recording.seen.update is not None)
    }
    sizes = {client: [len(batch.labels) for batch in recording.seen.batches] for client, recording in fit.items()}
    taken = _victim_batches(sizes, count, kind)
    return Stage(recordings=[fit[client].first(batches) for client, batches in taken.items()])


def victim_tasks(
    opened: OpenedRun, tier: int, count: int, kind: Victims, *, scheduled_in: int | None = None
) -> list[tuple[ClientTask, int]]:
    """Return clients' parts of the last round, placed in a tier, with the number of batches that hold victims.

    Args:
        opened: the run.
        tier: where every client is placed.
        count: victims that are wanted; whole batches are taken until they are reached, or all there are.
        kind: first batches of many clients, or whole rounds of few.
        scheduled_in: take only clients that the scheduler had in this tier, and only what they really sent.
    """
    worker = opened.prepared.worker
    tasks = [task for task in opened.tasks if scheduled_in in (None, task.tier)]
    if scheduled_in is not None and kind == "rounds":
        tasks = [task for task in tasks if task.completes]
    sizes = {task.client: _batch_sizes(len(worker.parts[task.client]), worker.batch_size) for task in tasks}
    if scheduled_in is not None:
        sizes = {task.client: sizes[task.client][: task.batches] for task in tasks}
        taken = _victim_batches(sizes, count, kind)
        return [(replace(task, tier=tier), taken[task.client]) for task in tasks if task.client in taken]
    taken = _victim_batches(sizes, count, kind)
    whole = {
        task.client: replace(task, tier=tier, batches=len(sizes[task.client]) * worker.local_epochs, completes=True)
        for task in tasks
    }
    return [(whole[client], batches) for client, batches in taken.items()]


def _victim_batches(sizes: Mapping[int, Sequence[int]], count: int, kind: Victims) -> dict[int, int]:
    """Return how many of its first batches each client's victims fill, for ``count`` victims or as many as there are.

    Args:
        sizes: records in each of a client's batches.
        count: victims that are wanted.
        kind: first batches of all clients before second ones, or whole rounds of one client after the other.
    """
    if kind == "batches":
        deepest = max(map(len, sizes.values()), default=0)
        chunks = [[client] for batch in range(deepest) for client in sizes if batch < len(sizes[client])]
    else:
        chunks = [[client] * len(sizes[client]) for client in sizes]
    taken, have = dict.fromkeys(sizes, 0), 0
    for chunk in chunks:
        if have >= count:
            break
        for client in chunk:
            have += sizes[client][taken[client]]
            taken[client] += 1
    return {client: batches for client, batches in taken.items() if batches}


def _batch_sizes(records: int, batch_size: int) -> list[int]:
    return [min(batch_size, records - start) for start in range(0, records, batch_size)]


def play(
    recorder: Recorder,
    tasks: Sequence[tuple[ClientTask, int]],
    weights: GlobalWeights,
    *,
    kind: Victims,
) -> Stage:
    """Let the victims' clients play their round from these weights, and record it."""
    return Stage(
        recordings=[recorder.record(task, weights, batches=batches, whole=kind == "rounds") for task, batches in tasks]
    )


def whole_epochs(opened: OpenedRun, recordings: Sequence[Recording], kind: Victims) -> list[Recording]:
    """Return recordings cut to the first epoch, so that each record is there once; of whole rounds complete ones only.

    Raises:
        InputError: whole rounds are asked for, and only their first batches were recorded.
    """
    worker = opened.prepared.worker
    per_epoch = {
        recording.seen.download.client: len(
            _batch_sizes(len(worker.parts[recording.seen.download.client]), worker.batch_size)
        )
        for recording in recordings
    }
    cut = [recording.first(per_epoch[recording.seen.download.client]) for recording in recordings]
    if kind == "batches":
        return cut
    complete = [one for one in cut if len(one.seen.batches) == per_epoch[one.seen.download.client]]
    if not complete:
        raise InputError(
            "only the first batches of each client's round were recorded, and this attack explains whole rounds: use "
            "--replay, or record with a larger --record-images"
        )
    return complete


def later_epochs(opened: OpenedRun, recorder: Recorder, seen: Seen) -> list[Seen]:
    """Return what a client sent in each further epoch of the round that began as ``seen``, if there were any."""
    worker, client = opened.prepared.worker, seen.download.client
    if worker.local_epochs == 1 or worker.defense.releases_apart:
        return []
    batches = _per_epoch(opened, client) * worker.local_epochs
    task = next(task for task in opened.tasks if task.client == client)
    task = replace(task, tier=seen.download.tier, batches=batches, completes=False)
    return by_epoch(opened, recorder.record(task, opened.weights, batches=batches, whole=False).seen)[1:]


def by_epoch(opened: OpenedRun, seen: Seen) -> list[Seen]:
    """Return a client's round epoch by epoch, each of which holds a record at most once."""
    size = _per_epoch(opened, seen.download.client)
    return [replace(seen, batches=seen.batches[start : start + size]) for start in range(0, len(seen.batches), size)]


def _per_epoch(opened: OpenedRun, client: int) -> int:
    worker = opened.prepared.worker
    return len(_batch_sizes(len(worker.parts[client]), worker.batch_size))


def _in_pairs(members: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return as many of the members as of the others in each class, the first ones; ``other_labels`` are by place."""
    kept, beside = [], []
    for label in sorted(set(labels.tolist())):
        of_class, against = members[labels == label], others[other_labels[others] == label]
        pairs = min(len(of_class), len(against))
        kept.append(of_class[:pairs])
        beside.append(against[:pairs])
    return torch.cat(kept), torch.cat(beside)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that the scenes of a run share, whatever the tier.

    Attributes:
        opened: the run.
        split: the adversary's data and the non-members.
        numerics: where attacks compute.
        shadows: training runs of the adversary's own.
    """

    opened: OpenedRun
    split: AuxiliarySplit
    numerics: Numerics
    shadows: Shadows

    def index_sets(self, stage: Stage) -> IndexSets:
        """Return which records are whose; checks that nobody's are anybody else's."""
        records = len(self.opened.prepared.worker.train_labels)
        return IndexSets(
            victims=stage.records,
            auxiliary=records + self.split.train_places,
            validation=records + self.split.validation_places,
            non_members=records + self.split.non_member_places,
        )

    def background(self, tier: int, stage: Stage | None, earlier: Sequence[Seen] = ()) -> Background:
        """Return all that there is to see at a tier; without a stage, what there is before the clients' round."""
        worker = self.opened.prepared.worker
        return Background(
            seen=[self._on_device(self._as_known(seen)) for seen in stage.seen] if stage is not None else [],
            earlier=[self._on_device(self._as_known(seen)) for seen in earlier],
            program=self.program,
            honest=self.honest,
            auxiliary=self.split.auxiliary,
            final_model=self.opened.after.weights.model,
            initial_model=self.opened.before.weights.model,
            initial_heads=self.opened.weights.heads,
            candidates=None if stage is None else self.candidates(stage)[0],
            shadows=self.shadows,
            logits=self.logits,
            input_shape=tuple(worker.train_images.shape[1:]),
            classes=worker.classes,
            tier=tier,
            cut_shape=self.opened.cut_shapes[tier],
            defense=worker.defense,
            server_half=(lambda: self.server_half(tier)) if self._of_last_round(stage) else None,
            local_steps=self.local_steps(stage),
            augmentations=tuple(worker.augmentations),
            records=sum(map(len, worker.parts)),
            device=self.numerics.device,
        )

    def _as_known(self, seen: Seen) -> Seen:
        """Return a client's round with the weights under which it sent, as far as they are known.

        Who releases apart trains first and sends with its weights frozen: those of its update, not of the download.
        """
        if seen.update is None or not self.opened.prepared.worker.defense.releases_apart:
            return seen
        return replace(seen, download=replace(seen.download, weights=seen.update.weights, head=seen.update.head))

    def _of_last_round(self, stage: Stage | None) -> bool:
        return stage is None or not stage.seen or stage.seen[0].download.round == self.opened.plan.round

    def local_steps(self, stage: Stage | None) -> LocalSteps:
        """Return how the clients of the round trained."""
        settings = self.opened.prepared.worker.optimizer
        number = stage.seen[0].download.round if stage is not None and stage.seen else self.opened.plan.round
        return LocalSteps(
            optimizer=settings.name,
            lr=self.opened.records[number - 1]["lr"],
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def server_half(self, tier: int) -> nn.Module:
        """Return a fresh copy of the server's half beyond a tier, as the round began with it."""
        half = copy.deepcopy(split(self.opened.prepared.worker.model, tier)[1])
        half.load_state_dict({name: self.opened.weights.model[name] for name in half.state_dict()})
        return self.numerics.place(half)

    def candidates(self, stage: Stage) -> tuple[Candidates, Tensor]:
        """Return victims and non-members in random order, and which of them are members: bool (N,).

        Of each class there are as many members as non-members: otherwise labels alone would tell them apart wherever
        clients hold some classes more than others.
        """
        worker = self.opened.prepared.worker
        chosen = torch.tensor(sorted(set(stage.records.tolist())), dtype=torch.int64)
        members, others = _in_pairs(
            chosen, worker.train_labels[chosen], self.split.non_member_places, worker.test_labels
        )
        images = torch.cat([worker.train_images[members], worker.test_images[others]])
        labels = torch.cat([worker.train_labels[members], worker.test_labels[others]])
        member = torch.arange(len(images)) < len(members)
        order = torch.from_numpy(stream(worker.seed, "candidates").permutation(len(images)))
        return Candidates(images=unit(images[order]), labels=labels[order]), member[order]

    def honest(self, tier: int) -> ModelDownload:
        """Return what the protocol sends the first client of the round in this tier."""
        client_half, _ = split(self.opened.prepared.worker.model, tier)
        task, weights = self.opened.tasks[0], self.opened.weights
        return ModelDownload(
            client=task.client,
            round=task.round,
            tier=tier,
            weights={name: weights.model[name] for name in client_half.state_dict()},
            head=weights.heads[tier],
        )

    def program(self, seen: Seen, adaptive: bool, seed: int) -> ClientProgram:
        """Return a fresh copy of a client's program."""
        worker, tier = self.opened.prepared.worker, seen.download.tier
        client_half, _ = split(worker.model, tier)
        return ClientProgram(
            modules=self.numerics.place(copy.deepcopy(client_half)),
            head=self.numerics.place(copy.deepcopy(self.opened.heads[tier])),
            download=seen.download,
            preprocessor=copy.deepcopy(worker.normaliser).to(self.numerics.device),
            defense=worker.defense if adaptive else DefenseChain(),
            numerics=self.numerics,
            training=not worker.defense.releases_apart,
            seed=seed,
            records=len(worker.parts[seen.download.client]),
            classes=worker.classes,
        )

    def logits(self, model: State, images: Tensor) -> Tensor:
        """Return logits (N, classes), float32, of images (N, C, H, W) in [0, 1] under a model's weights."""
        worker = self.opened.prepared.worker
        network = self.numerics.place(copy.deepcopy(worker.model))
        network.load_state_dict(model)
        network.eval()
        normalise = copy.deepcopy(worker.normaliser).to(self.numerics.device)
        with torch.no_grad(), self.numerics.autocast():
            parts = [
                network(self.numerics.place_images(normalise(part.to(self.numerics.device) * 255))).float().cpu()
                for part in torch.split(images, 500)
            ]
        return torch.cat(parts)

    def _on_device(self, seen: Seen) -> Seen:
        device = self.numerics.device
        batches = tuple(
            replace(batch, smashed=batch.smashed.float().to(device), labels=batch.labels.to(device))
            for batch in seen.batches
        )
        return replace(seen, batches=batches)
