"""How images are normalised: by sums that clients send, by constants, or by all clients' pixels pooled.

Sums of uint8 pixels are whole numbers, and so are the sums of these: what the clients' sums come to is what all pixels
together would have come to, to the last bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

import torch
from torch import Tensor

from dtfl_private.data.dataset import Dataset, ImageDataset
from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.plugins.registry import Spec
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ChannelScale, ChannelSums

Kind = Literal["client-sums", "constants", "pooled"]

CLIENT_SUMS, CONSTANTS, POOLED = KINDS = get_args(Kind)

FORM = "constants:mean=X,std=Y, one number for all channels or one for each as in mean=0.49/0.48/0.45"

# The largest value of a pixel, which becomes 1.
FULL_SCALE = 255

# A channel of one value only is divided by this.
LEAST_DEVIATION = 1e-6

# Images whose sums are taken at once, in float64: few enough for a processor's cache.
IMAGES_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """What the configuration's ``normalization`` means.

    kind: client-sums (each client sends `ChannelSums` once), constants (nothing is sent), or pooled (computed from all
        clients' pixels at one place, which a real federation cannot do).
    mean, deviation: constants of the user's own, one for all channels or one for each; empty for the data set's.
    """

    kind: Kind
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Normalization":
        """Read ``client-sums``, ``constants[:mean=X[/X...],std=Y[/Y...]]`` or ``pooled``.

        Raises:
            InputError: another name, an unknown or missing setting, or a value that is no such number.
        """
        spec = Spec.parse(text)
        names = {comparable(kind): kind for kind in KINDS}
        kind = names.get(comparable(spec.name))
        if kind is None:
            raise unknown_name("normalization", spec.name, KINDS)
        if not spec.settings:
            return cls(kind=kind)
        if kind != CONSTANTS:
            raise InputError(f"normalization '{text}' is refused: {kind} takes no settings")
        for key in spec.settings:
            if key not in ("mean", "std"):
                raise unknown_name(f"setting of normalization '{text}'", key, ("mean", "std"))
        if len(spec.settings) < 2:
            raise InputError(f"normalization '{text}' is refused: expected {FORM}")
        mean, deviation = (_numbers(text, key, spec.settings[key]) for key in ("mean", "std"))
        if min(deviation) <= 0:
            raise InputError(f"normalization '{text}' is refused: std={spec.settings['std']} is not above 0")
        return cls(kind=kind, mean=mean, deviation=deviation)

    def __str__(self) -> str:
        if not self.mean:
            return self.kind
        mean, deviation = ("/".join(map(repr, numbers)) for numbers in (self.mean, self.deviation))
        return f"{self.kind}:mean={mean},std={deviation}"

    def resolved(self, dataset: Dataset) -> "Normalization":
        """Return the same with the data set's constants written out.

        Raises:
            InputError: it has none, other channels than the constants given, or no images.
        """
        if self.kind != CONSTANTS:
            return self
        if not isinstance(dataset, ImageDataset):
            raise InputError(f"normalization {self} scales images; {dataset.name} holds {dataset.WORD}: leave it out")
        channels = dataset.input_shape[0]
        if not self.mean and dataset.constants is None:
            raise InputError(
                f"normalization constants: none are published for data set {dataset.name}: give your own, "
                f"{FORM}, or use --normalization client-sums"
            )
        if not self.mean and dataset.constants is not None:
            return replace(self, mean=dataset.constants.mean, deviation=dataset.constants.deviation)
        for name, numbers in (("mean", self.mean), ("std", self.deviation)):
            if len(numbers) not in (1, channels):
                raise InputError(
                    f"normalization '{self}' is refused: {name} has {len(numbers)} numbers, {dataset.name} has "
                    f"{channels} channel{'' if channels == 1 else 's'}: give one for all or one for each"
                )
        return self

    def scale(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return constants as mean and standard deviation per channel, float64 (C,)."""
        mean, deviation = (torch.tensor(numbers, dtype=torch.float64) for numbers in (self.mean, self.deviation))
        return mean.expand(channels).clone(), deviation.expand(channels).clone()


def _numbers(text: str, key: str, written: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in written.split("/"))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"normalization '{text}' is refused: {key}={written} is no number; expected {FORM}")
    return numbers


def clients_sums(images_u8: Tensor, parts: Sequence[IntArray]) -> list[ChannelSums]:
    """Return what each client that holds images says of their pixels.

    Args:
        images_u8: all training images, uint8 (N, C, H, W).
        parts: indices of each client's images.
    """
    pixels = images_u8.shape[2] * images_u8.shape[3]
    sums_NC, squares_NC = _sums_of_each(images_u8)
    return [
        ChannelSums(
            client=client,
            pixels=len(part) * pixels,
            sums=sums_NC[torch.from_numpy(part)].sum(dim=0),
            squares=squares_NC[torch.from_numpy(part)].sum(dim=0),
        )
        for client, part in enumerate(parts)
        if len(part)
    ]


def _sums_of_each(images_u8: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of each image's values, and of their squares, per channel, int64 (N, C)."""
    sums, squares = [], []
    for images in torch.split(images_u8, IMAGES_AT_ONCE):
        # Exact: float64 holds every whole number up to 2^53, which takes a channel of 10^11 pixels to reach.
        values = images.flatten(2).double()
        sums.append(values.sum(dim=2).long())
        squares.append(values.square_().sum(dim=2).long())
    return torch.cat(sums), torch.cat(squares)


def pooled_scale(messages: Sequence[ChannelSums]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel of all pixels scaled to [0, 1], float64 (C,).

    Computed in whole numbers: mean = s / 255 n, variance = (q n - s^2) / (255 n)^2 for n pixels, their sum s and the
    sum of their squares q. Only the last step rounds.
    """
    pixels = sum(message.pixels for message in messages)
    whole = FULL_SCALE * pixels
    sums_C = torch.stack([message.sums for message in messages]).sum(dim=0).tolist()
    squares_C = torch.stack([message.squares for message in messages]).sum(dim=0).tolist()
    means = [total / whole for total in sums_C]
    variances = [
        Fraction(squares * pixels - total**2, whole**2) for total, squares in zip(sums_C, squares_C, strict=True)
    ]
    deviations = [max(math.sqrt(variance), LEAST_DEVIATION) for variance in variances]
    return torch.tensor(means, dtype=torch.float64), torch.tensor(deviations, dtype=torch.float64)


def server_answers(messages: Sequence[ChannelSums]) -> list[ChannelScale]:
    """Return what the server sends each client that has sent its sums."""
    mean, deviation = pooled_scale(messages)
    return [ChannelScale(client=message.client, mean=mean, deviation=deviation) for message in messages]
