"""Send the channels of each record's activations in random order."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from dtfl_private.defenses.shared.pieces import drawn_orders
from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protocol.messages import SmashedBatch


def channel_axis(dimensions: int) -> int:
    """Return the axis of the channels in a batch of activations: 1 of (B, C, H, W) and (B, C), 2 of (B, T, D)."""
    return 2 if dimensions == 3 else 1


def shuffle_channels(smashed: Tensor, orders: Tensor) -> Tensor:
    """Return activations whose channel j is what was channel ``orders[record, j]``; orders (B, channels)."""
    axis = channel_axis(smashed.ndim)
    shape = [1] * smashed.ndim
    shape[0], shape[axis] = orders.shape
    return smashed.gather(axis, orders.reshape(shape).expand(smashed.shape))


@dataclass(frozen=True, kw_only=True)
class ChannelShuffle(Defense):
    """Shuffle the channels (or the positions in a token's width) of each record's activations.

    What the published DTFL code does under the name of patch shuffling. Every channel is still a picture of the input,
    in its place.

    Attributes:
        key: "fresh" draws an order per record and release, "client" one secret order per client for the whole run.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="which feature is which in the smashed data",
        acts_on=("smashed",),
        cost="accuracy; no arithmetic",
        attacker="the orders drawn; channels can be told apart by their statistics",
        nonexpansive=True,
    )

    key: Literal["fresh", "client"] = "fresh"

    def check(self, cut: Cut) -> None:
        """Refuse activations of a single channel."""
        if cut.cut_shape[channel_axis(len(cut.cut_shape) + 1) - 1] < 2:
            raise InputError(
                f"channel-shuffle: the activations {cut.cut_shape} of tier {cut.tier} have one channel, nothing to "
                "shuffle; use patch-shuffle"
            )

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with each record's channels in random order."""
        smashed = message.smashed
        orders = drawn_orders(len(smashed), smashed.shape[channel_axis(smashed.ndim)], self.key, at)
        return replace(message, smashed=shuffle_channels(smashed, orders))
