"""What the server checks of a client's frame before it is believed, against what it knows itself.

A client's number is that of its certificate. What is refused is named in a `WireError`; the client is then out for the
round.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import (
    Counts,
    Echo,
    Hello,
    Probed,
    Register,
    Smashed,
    Sums,
    Update,
    WireMessage,
    Withdrawn,
)
from dtfl_private.printable import shown_value
from dtfl_private.protocol.messages import ModelDownload, State

LARGEST_OF_HEAD = 1e6
"""A value in an auxiliary head. The server judges the averaged network, but heads only clients use: a greater one would
make the losses of all that are in its tier overflow."""


MOST_COUNTED = 2**32
"""By so much a counter may have grown in a round: by far more than a round has steps. They are averaged, so that one
client that puts them at their end would leave all others none to go on counting with."""


@dataclass(frozen=True, kw_only=True)
class ExpectedRound:
    """What the server knows of a client's part of a round, and holds its frames against.

    Attributes:
        session: epoch of the session.
        client: number of the certificate.
        download: what the client was sent, which has round and tier.
        batches: that it trains on at most.
        records: N_k.
        batch_size: records of a batch at most.
        classes: labels are 0..classes - 1.
        cut_shape: of one record's activations, ``TierCost.cut_shape``; empty where the client sends none, as one that
            holds the whole network.
        dtype: of the activations as they are read.
        record_bytes: of one record's activations on the wire; None: those of the dtype.
        labelled: whether labels come with the activations.
        send_every: of its batches it sends the first, and every so many-th after it.
        apart: it trains first, and then sends each record once, as with `DefenseChain.releases_apart`.
    """

    session: int
    client: int
    download: ModelDownload
    batches: int
    records: int
    batch_size: int
    classes: int
    cut_shape: tuple[int, ...]
    dtype: torch.dtype
    record_bytes: int | None = None
    labelled: bool = True
    send_every: int = 1
    apart: bool = False

    @property
    def messages(self) -> int:
        """How many messages of smashed data a client sends that completes the round."""
        if not self.cut_shape:
            return 0
        return self.epoch_batches if self.apart else -(-self.batches // self.send_every)

    @property
    def epoch_batches(self) -> int:
        """Batches in one pass over the records."""
        return -(-self.records // self.batch_size)

    def number(self, messages: int) -> int:
        """Return the number of the batch that comes after so many messages."""
        return messages * (1 if self.apart else self.send_every)

    def images(self, batch: int) -> int:
        """Return how many records a batch has: of each pass over them the last takes what is left."""
        before = batch % self.epoch_batches * self.batch_size
        return min(self.batch_size, self.records - before)


@dataclass(frozen=True, kw_only=True)
class Received:
    """What has come from a client in a round so far.

    Attributes:
        messages: of smashed data.
        images: in them.
    """

    messages: int = 0
    images: int = 0


def check_session(frame: WireMessage, session: int) -> None:
    """Check that a frame is of this session, and not a late one of an earlier."""
    if frame.session != session:
        raise WireError(f"{frame.kind}: session {frame.session}, this is session {session}")


def check_hello(frame: WireMessage, *, version: str) -> Hello:
    """Return a client's first frame if it is one, from a client of the same package.

    Args:
        frame: that came first.
        version: of the server's package.
    """
    if not isinstance(frame, Hello):
        raise WireError(f"{frame.kind}: a session begins with hello")
    check_session(frame, 0)
    if frame.version != version:
        raise WireError(
            f"hello: dtfl-private {shown_value(frame.version)} at the client, '{version}' at the server: "
            "install the same version"
        )
    return frame


def check_register(frame: Register, *, session: int, most_images: int = 2**40) -> None:
    """Check how many training images a client says it has."""
    check_session(frame, session)
    if frame.images > most_images:
        raise WireError(f"register: {frame.images:,} training images, at most {most_images:,} are expected")


def check_smashed(frame: Smashed, expected: ExpectedRound, received: Received) -> Received:
    """Check a batch of smashed data; return what has come with it."""
    message, number = frame.message, expected.number(received.messages)
    _check_round(frame.kind, frame, expected, message.client, message.round, message.tier)
    if not expected.cut_shape:
        raise WireError(f"smashed: tier {message.tier} sends no activations")
    if received.messages >= expected.messages:
        raise WireError(f"smashed: more than the {expected.messages} batches of the round")
    if message.batch != number:
        raise WireError(f"smashed: batch {message.batch}, expected batch {number}")
    images = _check_activations(frame, expected)
    if message.labelled != expected.labelled:
        raise WireError(f"smashed: labels came: {message.labelled}, expected: {expected.labelled}")
    if message.labels.amin() < 0 or message.labels.amax() >= expected.classes:
        raise WireError(
            f"smashed: labels from {int(message.labels.amin())} to {int(message.labels.amax())}, "
            f"expected 0 to {expected.classes - 1}"
        )
    return Received(messages=received.messages + 1, images=received.images + images)


def _check_activations(frame: Smashed, expected: ExpectedRound) -> int:
    """Check type, shape, bytes and values of activations; return of how many images they are."""
    message = frame.message
    images, shape = len(message.smashed), tuple(message.smashed.shape[1:])
    if message.smashed.dtype != expected.dtype:
        raise WireError(f"smashed: activations are {message.smashed.dtype}, expected {expected.dtype}")
    if shape != expected.cut_shape:
        raise WireError(
            f"smashed: activations of shape {shape}, the cut of tier {message.tier} is {expected.cut_shape}"
        )
    if images > expected.images(message.batch):
        raise WireError(
            f"smashed: {images} records in batch {message.batch}, at most {expected.images(message.batch)} are expected"
        )
    most_bytes = images * (expected.record_bytes or math.prod(shape) * expected.dtype.itemsize)
    if message.smashed_bytes > most_bytes:
        raise WireError(f"smashed: {message.smashed_bytes:,} bytes of activations, at most {most_bytes:,} are expected")
    check_finite("smashed: activations", message.smashed)
    return images


def check_update(frame: Update, expected: ExpectedRound, received: Received) -> None:
    """Check the update that closes a client's round."""
    message, download = frame.message, expected.download
    _check_round(frame.kind, frame, expected, message.client, message.round, message.tier)
    most = most_examples(expected, received)
    if not most:
        raise WireError("update: of no batch that has come: there is nothing that it could weigh")
    if not 1 <= message.examples <= most:
        raise WireError(f"update: {message.examples:,} examples, expected 1 to {most:,}")
    if not message.examples <= frame.images <= expected.batches * expected.batch_size:
        raise WireError(
            f"update: trained on {frame.images:,} images, expected {message.examples:,} to "
            f"{expected.batches * expected.batch_size:,}"
        )
    check_state("update: weights", message.weights, download.weights, counted=MOST_COUNTED)
    check_state("update: head", message.head, download.head, counted=MOST_COUNTED)
    for name, tensor in message.head.items():
        if tensor.is_floating_point() and bool((tensor.abs() > LARGEST_OF_HEAD).any()):
            raise WireError(f"update: head: {name} has values beyond {LARGEST_OF_HEAD:g}: with them no loss is finite")


def most_examples(expected: ExpectedRound, received: Received) -> int:
    """Return the greatest weight in the average that a client can claim after what has come of it."""
    if not expected.cut_shape:
        return min(expected.records, expected.batches * expected.batch_size)
    # Batches between those that are sent are seen by nobody but the client.
    seen = (
        received.images if expected.send_every == 1 else received.messages * expected.send_every * expected.batch_size
    )
    return min(expected.records, seen)


def _check_round(
    kind: str, frame: WireMessage, expected: ExpectedRound, client: int, round_number: int, tier: int
) -> None:
    check_session(frame, expected.session)
    if client != expected.client:
        raise WireError(f"{kind}: says it is of client {client}, the certificate is that of client {expected.client}")
    if round_number != expected.download.round:
        raise WireError(f"{kind}: of round {round_number}, this is round {expected.download.round}")
    if tier != expected.download.tier:
        raise WireError(f"{kind}: of tier {tier}, the client is in tier {expected.download.tier}")


def check_state(what: str, state: State, like: State, *, counted: int = 2**53) -> None:
    """Check that named tensors are those of another state: names, shapes, dtypes; and that they can be used.

    Floats must be finite, variances not negative, counters no less than the other's, by ``counted`` greater at most,
    and whole numbers as float64 has them, for they are averaged.
    """
    check_names(what, state, like)
    for name, tensor in state.items():
        check_finite(f"{what}: {name}", tensor)
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise WireError(f"{what}: {name} has a negative variance")
        if not tensor.is_floating_point() and not _goes_on_counting(tensor.long(), like[name].cpu().long(), counted):
            raise WireError(
                f"{what}: the counter {name} is {shown_value(tensor.tolist())}, after {like[name].tolist()}"
            )


def _goes_on_counting(counters: Tensor, before: Tensor, most: int) -> bool:
    return not bool(((counters < before) | (counters > 2**53) | (counters - before > most)).any())


def check_names(what: str, state: State, like: State) -> None:
    """Check that named tensors have the names, shapes and dtypes of another state."""
    if odd := sorted(state.keys() ^ like.keys()):
        where = "unknown" if odd[0] in state else "missing"
        raise WireError(f"{what}: {shown_value(odd[0])} is {where} ({len(odd)} names differ)")
    for name, tensor in state.items():
        other = like[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            raise WireError(
                f"{what}: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected {other.dtype} {tuple(other.shape)}"
            )


def check_finite(what: str, tensor: Tensor) -> None:
    """Refuse NaN and infinities."""
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise WireError(f"{what} are not finite: NaN or infinite values")


def check_probed(frame: Probed, *, session: int, batch_size: int, elapsed_s: float) -> None:
    """Check how long a client says that a standard batch took: no longer than the server has waited for the answer."""
    check_session(frame, session)
    if frame.images > batch_size:
        raise WireError(f"probed: {frame.images} images in the batch, at most {batch_size} are expected")
    if frame.batch_s > elapsed_s:
        raise WireError(f"probed: {frame.batch_s:g} s for a batch, the answer came after {elapsed_s:g} s")


def check_withdrawn(frame: Withdrawn, *, session: int, round_number: int) -> None:
    """Check that a client withdraws from the round that it is in."""
    check_session(frame, session)
    if frame.round != round_number:
        raise WireError(f"withdrawn: from round {frame.round}, this is round {round_number}")


def check_echo(frame: Echo, *, session: int, number: int, reply_bytes: int) -> None:
    """Check that an echo answers a measurement."""
    check_session(frame, session)
    if (frame.number, len(frame.payload)) != (number, reply_bytes):
        raise WireError(
            f"echo: measurement {frame.number} with {len(frame.payload):,} bytes, "
            f"expected {number} with {reply_bytes:,} bytes"
        )


def check_sums(frame: Sums, *, session: int, client: int, channels: int, pixels: int | None = None) -> None:
    """Check sums of pixels: they are those of ``pixels`` values 0..255 in each channel, if that is known."""
    check_session(frame, session)
    said = frame.message
    _check_sender("channel-sums", said.client, client)
    if said.sums.shape != (channels,) or said.sums.dtype != torch.int64 or said.squares.dtype != torch.int64:
        raise WireError(f"channel-sums: {said.sums.dtype} {tuple(said.sums.shape)}, expected int64 ({channels},)")
    if pixels is not None and said.pixels != pixels:
        raise WireError(f"channel-sums: {said.pixels:,} pixels, expected {pixels:,}")
    for total, squares in zip(said.sums.tolist(), said.squares.tolist(), strict=True):
        # Of values 0..255: (sum)^2 <= n * sum of squares, by Cauchy and Schwarz, and each square is <= 255 times it.
        if not (0 <= total <= 255 * said.pixels and total * total <= said.pixels * squares and squares <= 255 * total):
            raise WireError(f"channel-sums: {total:,} and {squares:,} are no sums of {said.pixels:,} values 0..255")


def check_counts(frame: Counts, *, session: int, client: int, classes: int, images: int) -> None:
    """Check counts of classes: they add up to the client's images."""
    check_session(frame, session)
    counts = frame.message.counts
    _check_sender("class-counts", frame.message.client, client)
    if counts.shape != (classes,) or counts.dtype != torch.int64:
        raise WireError(f"class-counts: {counts.dtype} {tuple(counts.shape)}, expected int64 ({classes},)")
    values = counts.tolist()
    if min(values) < 0 or sum(values) != images:
        raise WireError(
            f"class-counts: {shown_value(values)} add up to {sum(values):,}, the client has {images:,} images"
        )


def _check_sender(kind: str, said: int, client: int) -> None:
    if said != client:
        raise WireError(f"{kind}: says it is of client {said}, the certificate is that of client {client}")
