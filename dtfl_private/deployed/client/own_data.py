"""The images of one client: its own, or, to try things out, the part that a simulation would deal to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dtfl_private.data.dataset import Dataset, ImageDataset, load_dataset
from dtfl_private.data.description import class_name
from dtfl_private.data.normalization import CONSTANTS, Normalization
from dtfl_private.data.pixel_sums import clients_sums
from dtfl_private.data.preprocess import Normaliser
from dtfl_private.data.registration import Registration, register, resolved_normalization
from dtfl_private.errors import InputError, shortened
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.partition import dealt
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.protocol.messages import ChannelScale, ChannelSums


def own_images(data_dir: Path | None, dataset: str | None, config: TrainConfig, client: int) -> Dataset:
    """Return a client's images in a run; it trains on the training images of its data set.

    Args:
        data_dir: folder of its own data; None: it has none, and plays the client of a simulation, with the part of a
            data set that everybody has.
        dataset: how the data lie there; None: as the run's configuration names it.
        config: of the run.
        client: its number.

    Raises:
        InputError: the data are absent or damaged.
    """
    if data_dir is None and dataset is None:
        return part_of(config, client)
    return load_dataset(config.dataset if dataset is None else dataset, data_dir=data_dir, download=False)


def part_of(config: TrainConfig, client: int) -> Dataset:
    """Return the images that a simulation of a configuration would deal to a client.

    Raises:
        InputError: there is no such client, or the data are absent or damaged.
    """
    if client >= config.clients:
        raise InputError(f"client {client} has no part: the configuration has clients 0..{config.clients - 1}")
    whole = dealt(config)
    part = torch.from_numpy(whole.parts[client])
    return replace(
        whole.dataset,
        train_images=whole.dataset.train_images[part],
        train_labels=whole.dataset.train_labels[part],
        client_ids=None,
    )


def in_classes_of(dataset: Dataset, classes: Sequence[str], input_shape: Sequence[int]) -> Dataset:
    """Return a client's data set with the run's numbers for its classes.

    Raises:
        InputError: it has a class that the run has not, or images of another shape.
    """
    if dataset.input_shape != tuple(input_shape):
        raise InputError(
            f"this client's {dataset.WORD} are {_by(dataset.input_shape)}, those of the run {_by(input_shape)}: "
            "bring them to that size"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    own = [class_name(str(name)) for name in dataset.classes]
    strange = [name for name in own if name not in numbers]
    if strange:
        raise InputError(
            f"this client has a class '{shortened(strange[0], 60)}', which the run does not know: its classes are "
            f"{shortened(', '.join(classes), 200)}"
        )
    by_own = torch.tensor([numbers[name] for name in own])
    return replace(
        dataset,
        classes=tuple(classes),
        train_labels=by_own[dataset.train_labels],
        test_labels=by_own[dataset.test_labels],
    )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def sums_of(dataset: Dataset, client: int) -> ChannelSums:
    """Return what a client says of its pixels."""
    (sums,) = clients_sums(dataset.train_images, [np.arange(len(dataset.train_labels))])
    return replace(sums, client=client)


def asks_for_sums(config: TrainConfig, dataset: Dataset, apart: Sequence[str]) -> bool:
    """Whether a run normalises by what all clients' pixels come to.

    Args:
        config: of the run.
        dataset: of this machine.
        apart: names of defenses under which no input may depend on another record.
    """
    kind = resolved_normalization(Normalization.parse(config.normalization), dataset).kind
    return isinstance(dataset, ImageDataset) and kind != CONSTANTS and not apart


def registration_of(
    config: TrainConfig, dataset: Dataset, apart: Sequence[str], scale: ChannelScale | None
) -> Registration:
    """Return how a machine normalises: by the scale of all clients, where there is one.

    Args:
        config: of the run.
        dataset: of this machine.
        apart: names of defenses under which no input may depend on another record.
        scale: that the server has worked out; None where nobody was asked.
    """
    if scale is not None:
        return Registration(preprocessor=Normaliser(scale.mean, scale.deviation), statistics="client-sums")
    normalization = resolved_normalization(Normalization.parse(config.normalization), dataset)
    return register(dataset, [], normalization, apart=apart)


def held_by_client(dataset: Dataset, client: int, clients: int, registration: Registration) -> HeldData:
    """Return what one client holds of a run: all its training images are its own, and it knows of nobody else's."""
    everything, nothing = np.arange(len(dataset.train_labels)), np.arange(0)
    return HeldData(
        dataset=dataset,
        parts=[everything if number == client else nothing for number in range(clients)],
        images_K=np.full(clients, len(everything)),
        registration=registration,
    )
