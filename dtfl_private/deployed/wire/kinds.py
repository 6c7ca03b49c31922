"""The kinds of frames: what a client and the server say to each other in a deployed run.

Each wraps the message of the protocol where there is one, so that what crosses the trust boundary is what is simulated.
Never on the wire: losses, ledgers, what defenses remember, pixels, records' numbers.

``session`` is the session's epoch, which the server gives in `Welcome`; `Hello` has 0, as has a `Refused` before it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from dtfl_private.protocol.messages import (
    ChannelScale,
    ChannelSums,
    ClassCounts,
    ClassWeights,
    ModelDownload,
    SmashedBatch,
    WeightUpdate,
)

Side = Literal["client", "server"]


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What all frames have.

    kind: its name on the wire.
    by: the side that sends it.
    """

    kind: ClassVar[str]
    by: ClassVar[Side]

    session: int


# ---- what clients say ----


@dataclass(frozen=True, kw_only=True)
class Hello(_Frame):
    """A client's first frame.

    Attributes:
        version: of the package.
        config_sha256: of the configuration that it has pinned; empty if none.
        last_run: id of the run that it last took part in; empty if none.
    """

    kind = "hello"
    by = "client"

    session: int = 0
    version: str
    config_sha256: str = ""
    last_run: str = ""


@dataclass(frozen=True, kw_only=True)
class Register(_Frame):
    """How many training images a client has: its answer to a `Welcome` that it accepts.

    Attributes:
        images: N_k.
    """

    kind = "register"
    by = "client"

    images: int


@dataclass(frozen=True, kw_only=True)
class Sums(_Frame):
    """What a client says of its pixels, once, where the run normalises by what all clients know together."""

    kind = "channel-sums"
    by = "client"

    message: ChannelSums


@dataclass(frozen=True, kw_only=True)
class Counts(_Frame):
    """How many images of each class a client has, once, where the run weighs classes."""

    kind = "class-counts"
    by = "client"

    message: ClassCounts


@dataclass(frozen=True, kw_only=True)
class Probed(_Frame):
    """How long one standard batch took.

    Attributes:
        batch_s: seconds of its training step.
        images: in the batch.
    """

    kind = "probed"
    by = "client"

    batch_s: float
    images: int


@dataclass(frozen=True, kw_only=True)
class Smashed(_Frame):
    """A batch's activations and labels, after the client's defenses."""

    kind = "smashed"
    by = "client"

    message: SmashedBatch


@dataclass(frozen=True, kw_only=True)
class Update(_Frame):
    """The trained weights that close a client's round.

    Attributes:
        compute_s: seconds of computing, as the client claims.
        images: that it trained on, each as often as it did.
    """

    kind = "update"
    by = "client"

    message: WeightUpdate
    compute_s: float
    images: int


@dataclass(frozen=True, kw_only=True)
class Withdrawn(_Frame):
    """The client takes no part in the round, or no further: a guard or its ledger refuses.

    Attributes:
        reason: in a few words.
    """

    kind = "withdrawn"
    by = "client"

    round: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Echo(_Frame):
    """The answer to a measurement of the link, with as many bytes as the client is to send back."""

    kind = "echo"
    by = "client"

    number: int
    payload: bytes = b""


# ---- what the server says ----


@dataclass(frozen=True, kw_only=True)
class Welcome(_Frame):
    """The server's answer to a `Hello` that it accepts.

    Attributes:
        run: id of the run.
        client: number of the client that the certificate names.
        config: the run's configuration, TOML.
        config_sha256: of its UTF-8 bytes, in hexadecimal.
        largest: bytes of the largest frame that either side takes.
        classes: names of the run's classes, by number.
        input_shape: of one input of the network.
    """

    kind = "welcome"
    by = "server"

    run: str
    client: int
    config: str
    config_sha256: str
    largest: int
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Refused(_Frame):
    """The server does not take the client, for this reason."""

    kind = "refused"
    by = "server"

    session: int = 0
    reason: str


@dataclass(frozen=True, kw_only=True)
class Scale(_Frame):
    """By what means and deviations all clients normalise."""

    kind = "scale"
    by = "server"

    message: ChannelScale


@dataclass(frozen=True, kw_only=True)
class ClassScale(_Frame):
    """The weight of each class in the loss of all clients."""

    kind = "class-weights"
    by = "server"

    message: ClassWeights


@dataclass(frozen=True, kw_only=True)
class Probe(_Frame):
    """The shallowest tier's weights, for one batch that is timed and thrown away."""

    kind = "probe"
    by = "server"

    message: ModelDownload
    lr: float


@dataclass(frozen=True, kw_only=True)
class OpenRound(_Frame):
    """The weights of a client's tier, and what it is to do with them.

    Attributes:
        lr: the round's learning rate.
        batches: that it trains on at most.
        profile: name of its resource profile.
        deadline_s: seconds until the server closes the round.
    """

    kind = "open-round"
    by = "server"

    message: ModelDownload
    lr: float
    batches: int
    profile: str
    deadline_s: float


@dataclass(frozen=True, kw_only=True)
class Finish(_Frame):
    """Stop training now, and send the update as far as it got."""

    kind = "finish"
    by = "server"

    round: int


@dataclass(frozen=True, kw_only=True)
class Closed(_Frame):
    """The round is over for this client.

    Attributes:
        accepted: whether its update goes into the average.
        reason: why not; empty if it does.
    """

    kind = "closed"
    by = "server"

    round: int
    accepted: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure(_Frame):
    """A payload by which the link is measured.

    Attributes:
        number: of the measurement.
        payload: bytes that mean nothing.
        reply_bytes: how many the client is to send back.
    """

    kind = "measure"
    by = "server"

    number: int
    payload: bytes = b""
    reply_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Goodbye(_Frame):
    """The run has ended, for this reason."""

    kind = "goodbye"
    by = "server"

    reason: str


FromClient = Hello | Register | Sums | Counts | Probed | Smashed | Update | Withdrawn | Echo
FromServer = Welcome | Refused | Scale | ClassScale | Probe | OpenRound | Finish | Closed | Measure | Goodbye
WireMessage = FromClient | FromServer

KINDS: dict[str, type[WireMessage]] = {one.kind: one for one in get_args(WireMessage)}
"""All kinds, by their names on the wire."""
