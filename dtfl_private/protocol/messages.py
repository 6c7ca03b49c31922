"""What crosses the trust boundary: frozen messages between a client and the server, and their size.

A client emits `SmashedBatch` and `WeightUpdate`; the server emits `ModelDownload`. Defenses rewrite a client's
messages before they leave, the server trains on what arrives, and an attack sees exactly these and nothing else. Some
baselines have more to say: SplitFed's server a `GradientReply`, both sides of FedGKT a `LogitBatch`; in a U-shaped
split the server also sends `MiddleOutput` and the client answers with a `TailGradient`. Where images are
normalised by what the clients know together, each sends `ChannelSums` once, before round 1, and gets a `ChannelScale`;
where classes are weighed, `ClassCounts` and `ClassWeights`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from dtfl_private.protocol.packed import Packed

COUNT_BYTES = 8
"""A whole number as it is sent: int64."""

State = Mapping[str, Tensor]
"""Named parameters and buffers, as ``Module.state_dict()`` names them."""


Wire = Literal["fp32", "bf16", "int8", "int4"]
"""A format of smashed data."""


def below(prefix: str, states: State) -> State:
    """Return the tensors whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in states.items() if name.startswith(prefix)}


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's elements, as they would be sent."""
    return tensor.numel() * tensor.element_size()


def state_bytes(state: State) -> int:
    """Return the bytes of all tensors of a state."""
    return sum(tensor_bytes(tensor) for tensor in state.values())


@dataclass(frozen=True, kw_only=True)
class SmashedBatch:
    """A batch's activations at the cut and its labels, from a client to the server (dtfl: (z, y)).

    ``smashed`` is (batch, *cut shape), detached, as the server reads it; ``labels`` is (batch,) int64. Where labels
    stay on the client, ``labelled`` is false, and ``labels`` are zeros that stand for nothing.
    ``packed_bytes`` is the size of the activations on the wire when a defense packs them; otherwise they are sent as
    they are, in the run's wire type. ``packed`` is what a defense sends in their place, where it says so; it tells no
    more than they do.
    """

    client: int
    round: int
    tier: int
    batch: int
    smashed: Tensor
    labels: Tensor
    packed_bytes: int | None = None
    labelled: bool = True
    packed: Packed | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.smashed.shape[0] != self.labels.shape[0]:
            raise ValueError(f"{self.smashed.shape[0]} activations but {self.labels.shape[0]} labels in a batch")
        if self.smashed.requires_grad:
            raise ValueError("smashed data must be detached: no gradient crosses the boundary in DTFL")
        if not self.labelled and bool(self.labels.any()):
            raise ValueError("a batch without labels has labels")

    @property
    def smashed_bytes(self) -> int:
        """Bytes of the activations."""
        return tensor_bytes(self.smashed) if self.packed_bytes is None else self.packed_bytes

    @property
    def label_bytes(self) -> int:
        """Bytes of the labels; 0 where none are sent."""
        return tensor_bytes(self.labels) if self.labelled else 0

    def without_labels(self) -> "SmashedBatch":
        """Return the same batch as one sees it who does not get the labels."""
        return replace(self, labels=torch.zeros_like(self.labels), labelled=False)


@dataclass(frozen=True, kw_only=True)
class ModelDownload:
    """Client-side weights and auxiliary head, from the server to a client at the start of its round.

    ``wire`` is the format in which the client is to send its smashed data, where the server names one.
    """

    client: int
    round: int
    tier: int
    weights: State
    head: State
    wire: Wire | None = None

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and head."""
        return state_bytes(self.weights) + state_bytes(self.head)


@dataclass(frozen=True, kw_only=True)
class WeightUpdate:
    """Trained client-side weights and auxiliary head, from a client to the server at the end of its round.

    ``examples`` is N_k, the weight of this client in the average. Where a method has batch norm's statistics measured
    anew, a second one has these alone for ``weights``.
    """

    client: int
    round: int
    tier: int
    examples: int
    weights: State
    head: State

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and head."""
        return state_bytes(self.weights) + state_bytes(self.head)


@dataclass(frozen=True, kw_only=True)
class GradientReply:
    """The loss's gradient at the cut for one batch, from the server to a client: in split learning, never in DTFL.

    ``gradient`` is (batch, *cut shape) in the wire type.
    """

    client: int
    round: int
    batch: int
    gradient: Tensor

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the gradient."""
        return tensor_bytes(self.gradient)


@dataclass(frozen=True, kw_only=True)
class MiddleOutput:
    """What the server's modules make of a batch, from the server to the client that has the modules behind them.

    In a U-shaped split only. ``outputs`` is (batch, *second cut shape), detached, in the wire type.
    """

    client: int
    round: int
    batch: int
    outputs: Tensor

    def __post_init__(self) -> None:
        if self.outputs.requires_grad:
            raise ValueError("what the server sends must be detached: a gradient comes back as a message")

    @property
    def output_bytes(self) -> int:
        """Bytes of the outputs."""
        return tensor_bytes(self.outputs)


@dataclass(frozen=True, kw_only=True)
class TailGradient:
    """The loss's gradient at the input of the client's last modules, from a client to the server: answers the outputs.

    In a U-shaped split only. ``gradient`` is (batch, *second cut shape), of the mean loss, in the wire type. With the
    weights of these modules it tells the labels.
    """

    client: int
    round: int
    batch: int
    gradient: Tensor

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the gradient."""
        return tensor_bytes(self.gradient)


@dataclass(frozen=True, kw_only=True)
class LogitBatch:
    """One side's logits (batch, classes) for a batch, from a client to the server or back: in FedGKT only."""

    client: int
    round: int
    batch: int
    logits: Tensor

    @property
    def logit_bytes(self) -> int:
        """Bytes of the logits."""
        return tensor_bytes(self.logits)


@dataclass(frozen=True, kw_only=True)
class ChannelSums:
    """What a client says of its training pixels, once, when it registers before round 1; defenses do not act on it.

    ``pixels`` is their number in each channel, ``sums`` and ``squares`` are the sums of their values 0..255 and of the
    squares of these, int64 (C,): exact.
    """

    client: int
    pixels: int
    sums: Tensor
    squares: Tensor

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.sums.ndim != 1 or self.sums.shape != self.squares.shape:
            raise ValueError(f"sums of {self.pixels} pixels, {tuple(self.sums.shape)} and {tuple(self.squares.shape)}")
        if self.sums.is_floating_point() or self.squares.is_floating_point():
            raise ValueError(f"sums of pixels are whole numbers, not {self.sums.dtype} and {self.squares.dtype}")

    @property
    def statistics_bytes(self) -> int:
        """Bytes of count and sums."""
        return COUNT_BYTES + tensor_bytes(self.sums) + tensor_bytes(self.squares)


@dataclass(frozen=True, kw_only=True)
class ChannelScale:
    """The server's answer to `ChannelSums`, the same for every client: what all clients' sums come to.

    Mean and standard deviation of pixels scaled to [0, 1], per channel, float64 (C,).
    """

    client: int
    mean: Tensor
    deviation: Tensor

    @property
    def statistics_bytes(self) -> int:
        """Bytes of means and deviations."""
        return tensor_bytes(self.mean) + tensor_bytes(self.deviation)


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """How many training images of each class a client has, sent once before round 1 where a run weighs classes.

    ``counts`` is int64 (classes,): exact; defenses do not act on it.
    """

    client: int
    counts: Tensor

    def __post_init__(self) -> None:
        if self.counts.ndim != 1 or self.counts.is_floating_point():
            raise ValueError(f"counts of classes are whole numbers, not {self.counts.dtype} {tuple(self.counts.shape)}")

    @property
    def statistics_bytes(self) -> int:
        """Bytes of the counts."""
        return tensor_bytes(self.counts)


@dataclass(frozen=True, kw_only=True)
class ClassWeights:
    """The server's answer to `ClassCounts`, the same for every client: the weight of each class, float64 (classes,)."""

    client: int
    weights: Tensor

    @property
    def statistics_bytes(self) -> int:
        """Bytes of the weights."""
        return tensor_bytes(self.weights)


Message = (
    ChannelSums | ClassCounts | SmashedBatch | WeightUpdate | LogitBatch | GradientReply | MiddleOutput | TailGradient
)
"""What leaves a client, and what the server answers to a batch in split learning."""

MessageObserver = Callable[[Message], None]
"""Called with each message after the defenses, as the server receives or sends it; must not change it."""


class Transcript:
    """Record every message, in the order in which they are sent: pass ``transcript.record`` as an observer.

    The tensors are kept as they are, on their device: for a few clients and rounds, not for whole runs.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def record(self, message: Message) -> None:
        """Append one message."""
        self.messages.append(message)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one client's round looks like from the server.

    Attributes:
        download: the weights that the client began with.
        batches: messages with smashed data, in order; those that hold the victims.
        update: the trained weights; None if the client dropped out.
        replies: the gradients that the server returned for the same batches; none but in split learning.
        logits: those that the client sent with the same batches; none but in FedGKT.
        outputs: what the server's modules made of the same batches, which it sent back; none but in a U-shaped split.
        tail_gradients: the gradients that the client returned for these outputs; likewise.
    """

    download: ModelDownload
    batches: tuple[SmashedBatch, ...]
    update: WeightUpdate | None
    replies: tuple[GradientReply, ...] = ()
    logits: tuple[LogitBatch, ...] = ()
    outputs: tuple[MiddleOutput, ...] = ()
    tail_gradients: tuple[TailGradient, ...] = ()

    def first(self, batches: int) -> "Seen":
        """Return the round with only the first so many batches and what belongs to them."""
        return self.part(0, batches)

    def part(self, start: int, stop: int) -> "Seen":
        """Return the round with only these batches and what belongs to them."""
        own = slice(start, stop)
        return replace(
            self,
            batches=self.batches[own],
            replies=self.replies[own],
            logits=self.logits[own],
            outputs=self.outputs[own],
            tail_gradients=self.tail_gradients[own],
        )

    @property
    def records(self) -> int:
        """How many records this is of: those of the batches; of a client that sends weights alone, all of its own."""
        if self.batches or self.update is None:
            return sum(len(batch.labels) for batch in self.batches)
        return self.update.examples
