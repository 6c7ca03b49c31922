"""What a client checks of the server's frames before it does what they say."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import torch

from dtfl_private.deployed.deployable import LARGEST_RATE
from dtfl_private.deployed.wire.checks import check_finite, check_session, check_state
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import ClassScale, Closed, Finish, Measure, OpenRound, Probe, Scale, Welcome
from dtfl_private.deployed.wire.limits import LARGEST_FRAME
from dtfl_private.printable import shown_value
from dtfl_private.protocol.messages import ModelDownload, State, Wire


@dataclass(frozen=True, kw_only=True)
class ExpectedDownload:
    """What a client knows of the weights that it may be sent.

    Attributes:
        session: epoch of the session.
        client: its own number.
        tiers: in which it can be, by its configuration and its own guards.
        wires: formats that the server may name; empty if it names none.
        batches: of its round, by its own records.
        after_round: the last round that it took part in, 0 before the first.
        last_round: of the run.
    """

    session: int
    client: int
    tiers: Collection[int]
    wires: Collection[Wire]
    batches: int
    after_round: int
    last_round: int


def check_welcome(frame: Welcome, *, client: int, pinned_sha256: str = "") -> None:
    """Check that a welcome is meant for this client, and brings the configuration that it has pinned, if any."""
    if frame.largest > LARGEST_FRAME:
        raise WireError(f"welcome: frames of {frame.largest:,} bytes, at most {LARGEST_FRAME:,} are read")
    if frame.session < 1:
        raise WireError(f"welcome: session {frame.session}, expected 1 or more")
    if frame.client != client:
        raise WireError(f"welcome: for client {frame.client}, this is client {client}")
    found = hashlib.sha256(frame.config.encode()).hexdigest()
    if found != frame.config_sha256:
        raise WireError(f"welcome: the configuration's SHA-256 is {found}, {frame.config_sha256} was announced")
    if pinned_sha256 and found != pinned_sha256:
        raise WireError(f"welcome: the configuration's SHA-256 is {found}, this client has pinned {pinned_sha256}")


def check_open_round(frame: OpenRound, expected: ExpectedDownload, weights: State, head: State) -> None:
    """Check that a round can be trained as the server opens it.

    Args:
        frame: that opens it.
        expected: what the client knows.
        weights: of the modules that it has built for this tier: names, shapes and dtypes count.
        head: of the tier's auxiliary head, likewise; empty where there is none.
    """
    if not expected.after_round < frame.message.round <= expected.last_round:
        raise WireError(
            f"open-round: round {frame.message.round}, expected {expected.after_round + 1} to {expected.last_round}"
        )
    if not 1 <= frame.batches <= expected.batches:
        raise WireError(f"open-round: {frame.batches} batches, this client's records make {expected.batches}")
    if frame.deadline_s <= 0:
        raise WireError("open-round: no time is left until the deadline")
    _check_rate("open-round", frame.lr)
    check_session(frame, expected.session)
    check_download("open-round", frame.message, expected, weights, head)


def check_probe(frame: Probe, expected: ExpectedDownload, weights: State, head: State) -> None:
    """Check the weights of a probe; nothing of it is sent, so that its tier is free within the network."""
    check_session(frame, expected.session)
    _check_rate("probe", frame.lr)
    check_download("probe", frame.message, expected, weights, head)


def check_tier(kind: str, message: ModelDownload, expected: ExpectedDownload) -> None:
    """Check a download's tier: before the client builds the modules that its tensors are held against."""
    if message.tier not in expected.tiers:
        allowed = ", ".join(map(str, sorted(expected.tiers)))
        raise WireError(f"{kind}: tier {message.tier}, this client can be in {allowed}")


def check_download(kind: str, message: ModelDownload, expected: ExpectedDownload, weights: State, head: State) -> None:
    """Check weights that the server sends, against the modules that the client has built."""
    if message.client != expected.client:
        raise WireError(f"{kind}: for client {message.client}, this is client {expected.client}")
    check_tier(kind, message, expected)
    if message.wire is not None and message.wire not in expected.wires:
        raise WireError(f"{kind}: wire format {message.wire}, the run has {', '.join(expected.wires) or 'its own'}")
    check_state(f"{kind}: weights", message.weights, _zeros_for_counters(weights))
    check_state(f"{kind}: head", message.head, _zeros_for_counters(head))


def _zeros_for_counters(state: State) -> State:
    """Return a state with its counters at zero: those of a module that was built here may be at anything."""
    return {name: one if one.is_floating_point() else torch.zeros_like(one) for name, one in state.items()}


def _check_rate(kind: str, lr: float) -> None:
    if not 0 < lr <= LARGEST_RATE:
        raise WireError(f"{kind}: learning rate {lr:g}, expected above 0 and at most {LARGEST_RATE:g}")


def check_finish(frame: Finish, *, session: int, round_number: int) -> None:
    """Check that the round that is to be finished is this one."""
    check_session(frame, session)
    if frame.round != round_number:
        raise WireError(f"finish: of round {frame.round}, this is round {round_number}")


def check_closed(frame: Closed, *, session: int, round_number: int) -> None:
    """Check that what is acknowledged is this round."""
    check_session(frame, session)
    if frame.round != round_number:
        raise WireError(f"closed: round {frame.round}, this is round {round_number}")


def check_measure(frame: Measure, *, session: int, most_reply_bytes: int) -> None:
    """Check that a measurement of the link asks for no more than a frame can hold."""
    check_session(frame, session)
    if frame.reply_bytes > most_reply_bytes:
        raise WireError(f"measure: asks for {frame.reply_bytes:,} bytes, at most {most_reply_bytes:,} are sent")


def check_scale(frame: Scale, *, session: int, client: int, channels: int) -> None:
    """Check means and deviations of pixels that are scaled to [0, 1]."""
    check_session(frame, session)
    said = frame.message
    if said.client != client:
        raise WireError(f"scale: for client {said.client}, this is client {client}")
    for name, tensor in (("mean", said.mean), ("deviation", said.deviation)):
        if tensor.shape != (channels,) or tensor.dtype != torch.float64:
            raise WireError(f"scale: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected float64 ({channels},)")
        check_finite(f"scale: values of {name}", tensor)
    if bool(((said.mean < 0) | (said.mean > 1)).any()):
        raise WireError(f"scale: means {shown_value(said.mean.tolist())}, expected 0 to 1")
    # Of values in [0, 1] none is above 1/2.
    if bool(((said.deviation <= 0) | (said.deviation > 0.5)).any()):
        raise WireError(f"scale: deviations {shown_value(said.deviation.tolist())}, expected above 0 and at most 0.5")


def check_class_scale(frame: ClassScale, *, session: int, client: int, classes: int) -> None:
    """Check the weights of classes: finite and not negative."""
    check_session(frame, session)
    said = frame.message
    if said.client != client:
        raise WireError(f"class-weights: for client {said.client}, this is client {client}")
    if said.weights.shape != (classes,) or said.weights.dtype != torch.float64:
        raise WireError(
            f"class-weights: {said.weights.dtype} {tuple(said.weights.shape)}, expected float64 ({classes},)"
        )
    check_finite("class-weights: values", said.weights)
    if bool((said.weights < 0).any()):
        raise WireError("class-weights: a weight is negative")
