"""What clients and server tell each other of the images before round 1, and how network inputs are made from then on.

Every client that holds images registers once, whether it is there in round 1 or not. That takes no simulated time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dtfl_private.data.dataset import Dataset, ImageDataset
from dtfl_private.data.normalization import CONSTANTS, FORM, POOLED, Normalization
from dtfl_private.data.pixel_sums import clients_sums, server_answers
from dtfl_private.data.preprocess import AsTheyAre, Normaliser, Preprocessor
from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ChannelScale, ChannelSums

Statistics = Literal["client-sums", "pooled"]
"""Where mean and deviation come from, if they come from the clients' images."""

NO_TRAFFIC: Mapping[str, int] = {"up_statistics": 0, "down_statistics": 0}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What was said before round 1.

    preprocessor: makes network inputs.
    sums: what each client has sent; empty where nothing is sent.
    scales: what the server has answered.
    statistics: what must be disclosed; None where nothing of the clients' images was used, or all of them are at one
        place anyhow.
    note: why images are not normalised as the configuration says; None where they are.
    """

    preprocessor: Preprocessor
    sums: Sequence[ChannelSums] = ()
    scales: Sequence[ChannelScale] = ()
    statistics: Statistics | None = None
    note: str | None = None

    @property
    def traffic(self) -> Mapping[str, int]:
        """Bytes of these messages, by kind."""
        return {
            "up_statistics": sum(message.statistics_bytes for message in self.sums),
            "down_statistics": sum(message.statistics_bytes for message in self.scales),
        }


def resolved_normalization(normalization: Normalization, dataset: Dataset) -> Normalization:
    """Return the same normalisation with the data set's constants written out.

    Raises:
        InputError: it has none, other channels than the constants given, or no images.
    """
    if normalization.kind != CONSTANTS:
        return normalization
    if not isinstance(dataset, ImageDataset):
        raise InputError(
            f"normalization {normalization} scales images; {dataset.name} holds {dataset.WORD}: leave it out"
        )
    if not normalization.mean:
        return _published(normalization, dataset)
    channels = dataset.input_shape[0]
    for name, numbers in (("mean", normalization.mean), ("std", normalization.deviation)):
        if len(numbers) not in (1, channels):
            raise InputError(
                f"normalization '{normalization}' is refused: {name} has {len(numbers)} numbers, {dataset.name} has "
                f"{channels} channel{'' if channels == 1 else 's'}: give one for all or one for each"
            )
    return normalization


def _published(normalization: Normalization, dataset: ImageDataset) -> Normalization:
    if dataset.constants is None:
        raise InputError(
            f"normalization constants: none are published for data set {dataset.name}: give your own, "
            f"{FORM}, or use --normalization client-sums"
        )
    return replace(normalization, mean=dataset.constants.mean, deviation=dataset.constants.deviation)


def constant_scale(normalization: Normalization, channels: int) -> tuple[Tensor, Tensor]:
    """Return a normalisation's constants as mean and standard deviation per channel, float64 (C,)."""
    constants = (normalization.mean, normalization.deviation)
    mean, deviation = (torch.tensor(numbers, dtype=torch.float64) for numbers in constants)
    return mean.expand(channels).clone(), deviation.expand(channels).clone()


def register(
    dataset: Dataset,
    parts: Sequence[IntArray],
    normalization: Normalization,
    *,
    apart: Sequence[str] = (),
    central: bool = False,
) -> Registration:
    """Register all clients of a run.

    Args:
        dataset: of the run.
        parts: indices of each client's training images.
        normalization: of the run, resolved.
        apart: names of the defenses under which no input may depend on another record, as guarantees per record need
            it: images are scaled to [-1, 1] then, unless there are constants.
        central: all images are at one place, and nothing needs to be sent.
    """
    if not isinstance(dataset, ImageDataset):
        return Registration(preprocessor=AsTheyAre())
    if normalization.kind == CONSTANTS:
        return Registration(preprocessor=Normaliser(*constant_scale(normalization, dataset.input_shape[0])))
    if apart:
        note = (
            f"normalization {normalization} is not used under {', '.join(apart)}, where no input may depend on another "
            "record: images are scaled by mean and deviation 0.5, and nothing is sent for it"
        )
        return Registration(preprocessor=Normaliser.constant(dataset), note=note)
    if central or normalization.kind == POOLED:
        return Registration(preprocessor=Normaliser.of(dataset), statistics=None if central else "pooled")
    sums = clients_sums(dataset.train_images, parts)
    scales = server_answers(sums)
    return Registration(
        preprocessor=Normaliser(scales[0].mean, scales[0].deviation),
        sums=sums,
        scales=scales,
        statistics="client-sums",
    )


def planned_traffic(normalization: Normalization, clients: int, input_shape: Sequence[int]) -> Mapping[str, int]:
    """Return the bytes of the registration of so many clients that all hold inputs of this shape."""
    if normalization.kind != "client-sums" or len(input_shape) != 3:
        return NO_TRAFFIC
    zeros, one = torch.zeros(input_shape[0], dtype=torch.int64), torch.ones(input_shape[0], dtype=torch.float64)
    sums = ChannelSums(client=0, pixels=1, sums=zeros, squares=zeros)
    scale = ChannelScale(client=0, mean=one, deviation=one)
    return {"up_statistics": clients * sums.statistics_bytes, "down_statistics": clients * scale.statistics_bytes}
