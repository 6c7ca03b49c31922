"""Mean and deviation of images from sums that clients send, or from all clients' pixels pooled.

Sums of uint8 pixels are whole numbers, and so are the sums of these: what the clients' sums come to is what all pixels
together would have come to, to the last bit.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ChannelScale, ChannelSums

# The largest value of a pixel, which becomes 1.
FULL_SCALE = 255


# A channel of one value only is divided by this.
LEAST_DEVIATION = 1e-6


# Images whose sums are taken at once, in float64: few enough for a processor's cache.
IMAGES_AT_ONCE = 200


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
    sums_C = _added([message.sums for message in messages])
    squares_C = _added([message.squares for message in messages])
    means = [total / whole for total in sums_C]
    variances = [
        Fraction(squares * pixels - total**2, whole**2) for total, squares in zip(sums_C, squares_C, strict=True)
    ]
    deviations = [max(math.sqrt(variance), LEAST_DEVIATION) for variance in variances]
    return torch.tensor(means, dtype=torch.float64), torch.tensor(deviations, dtype=torch.float64)


def _added(numbers: Sequence[Tensor]) -> list[int]:
    """Return sums (C,) added up, in Python's integers: each is within 64 bits, and all together need not be."""
    return [sum(of_channel) for of_channel in zip(*(one.tolist() for one in numbers), strict=True)]


def server_answers(messages: Sequence[ChannelSums]) -> list[ChannelScale]:
    """Return what the server sends each client that has sent its sums."""
    mean, deviation = pooled_scale(messages)
    return [ChannelScale(client=message.client, mean=mean, deviation=deviation) for message in messages]
