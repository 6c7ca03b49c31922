"""The headers of frames: one schema for each kind."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from dtfl_private.data.description import MOST_CLASSES, ClassName
from dtfl_private.deployed.wire import kinds
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.header import (
    Digest,
    DigestOrNone,
    Header,
    MessageHeader,
    Natural,
    Positive,
    Reason,
    Seconds,
    Text,
    bytes_of,
    require_names,
    tensor_of,
)
from dtfl_private.deployed.wire.smashed_header import SmashedHeader
from dtfl_private.files.reading import LARGEST_TOML_BYTES
from dtfl_private.protocol.messages import (
    ChannelScale,
    ChannelSums,
    ClassCounts,
    ClassWeights,
    ModelDownload,
    State,
    WeightUpdate,
    Wire,
)

# ---- what clients say ----


class HelloHeader(Header):
    """Of `Hello`."""

    of_kind = kinds.Hello
    kind: Literal["hello"]
    version: Text
    config_sha256: DigestOrNone
    last_run: Text


class RegisterHeader(Header):
    """Of `Register`."""

    of_kind = kinds.Register
    kind: Literal["register"]
    images: Positive


class SumsHeader(MessageHeader):
    """Of `Sums`."""

    of_kind = kinds.Sums
    of_message = ChannelSums
    tensors = ("sums", "squares")
    kind: Literal["channel-sums"]
    client: Natural
    pixels: Positive


class CountsHeader(MessageHeader):
    """Of `Counts`."""

    of_kind = kinds.Counts
    of_message = ClassCounts
    tensors = ("counts",)
    kind: Literal["class-counts"]
    client: Natural


class ProbedHeader(Header):
    """Of `Probed`."""

    of_kind = kinds.Probed
    kind: Literal["probed"]
    batch_s: Seconds
    images: Positive


class UpdateHeader(MessageHeader):
    """Of `Update`."""

    of_kind = kinds.Update
    of_message = WeightUpdate
    states = ("weights", "head")
    kind: Literal["update"]
    client: Natural
    round: Positive
    tier: Positive
    examples: Positive
    compute_s: Seconds
    images: Natural


class WithdrawnHeader(Header):
    """Of `Withdrawn`."""

    of_kind = kinds.Withdrawn
    kind: Literal["withdrawn"]
    round: Positive
    reason: Reason


class EchoHeader(Header):
    """Of `Echo`."""

    of_kind = kinds.Echo
    payloads = ("payload",)
    kind: Literal["echo"]
    number: Natural


# ---- what the server says ----


_CLASSES: TypeAdapter[tuple[str, ...]] = TypeAdapter(
    Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=MOST_CLASSES)]
)


class WelcomeHeader(Header):
    """Of `Welcome`; configuration and classes go as bytes, so that headers stay small."""

    of_kind = kinds.Welcome
    kind: Literal["welcome"]
    run: Text
    client: Natural
    config_sha256: Digest
    largest: Positive
    input_shape: Annotated[list[Positive], Field(min_length=1, max_length=3)]

    @classmethod
    def of(cls, frame: kinds.Welcome) -> tuple[Self, State]:
        """Return run and client, and the configuration with the names of the classes."""
        values: dict[str, Any] = {name: getattr(frame, name) for name in cls.model_fields}
        texts = {"config": frame.config, "classes": json.dumps(frame.classes)}
        return cls(**{**values, "input_shape": list(frame.input_shape)}), {
            name: tensor_of(text.encode()) for name, text in texts.items()
        }

    def frame(self, tensors: State, most_bytes: int) -> kinds.Welcome:
        """Return the welcome."""
        require_names(tensors, ("config", "classes"))
        text = bytes_of(tensors["config"])
        if len(text) > LARGEST_TOML_BYTES:
            raise WireError(f"configuration: {len(text):,} bytes: at most {LARGEST_TOML_BYTES:,} are read")
        try:
            config, classes = text.decode(), _CLASSES.validate_json(bytes_of(tensors["classes"]))
        except UnicodeDecodeError:
            raise WireError("configuration: not UTF-8 text") from None
        except ValidationError as error:
            raise WireError(f"classes: {error.errors(include_input=False)[0]['msg']}") from None
        values = {**self.values(), "input_shape": tuple(self.input_shape)}
        return kinds.Welcome(**values, config=config, classes=classes)


class RefusedHeader(Header):
    """Of `Refused`."""

    of_kind = kinds.Refused
    kind: Literal["refused"]
    reason: Reason


class ScaleHeader(MessageHeader):
    """Of `Scale`."""

    of_kind = kinds.Scale
    of_message = ChannelScale
    tensors = ("mean", "deviation")
    kind: Literal["scale"]
    client: Natural


class ClassScaleHeader(MessageHeader):
    """Of `ClassScale`."""

    of_kind = kinds.ClassScale
    of_message = ClassWeights
    tensors = ("weights",)
    kind: Literal["class-weights"]
    client: Natural


class _DownloadHeader(MessageHeader):
    """What brings the weights of a client half."""

    of_message = ModelDownload
    states = ("weights", "head")
    client: Natural
    round: Natural
    tier: Positive
    wire: Wire | None
    lr: Annotated[float, Field(gt=0, le=1e9)]


class ProbeHeader(_DownloadHeader):
    """Of `Probe`."""

    of_kind = kinds.Probe
    kind: Literal["probe"]


class OpenRoundHeader(_DownloadHeader):
    """Of `OpenRound`."""

    of_kind = kinds.OpenRound
    kind: Literal["open-round"]
    round: Positive
    batches: Positive
    profile: Text
    deadline_s: Seconds


class FinishHeader(Header):
    """Of `Finish`."""

    of_kind = kinds.Finish
    kind: Literal["finish"]
    round: Positive


class ClosedHeader(Header):
    """Of `Closed`."""

    of_kind = kinds.Closed
    kind: Literal["closed"]
    round: Positive
    accepted: bool
    reason: Reason


class MeasureHeader(Header):
    """Of `Measure`."""

    of_kind = kinds.Measure
    payloads = ("payload",)
    kind: Literal["measure"]
    number: Natural
    reply_bytes: Natural


class GoodbyeHeader(Header):
    """Of `Goodbye`."""

    of_kind = kinds.Goodbye
    kind: Literal["goodbye"]
    reason: Reason


HEADERS: Mapping[str, type[Header]] = {
    one.of_kind.kind: one
    for one in (
        *(
            HelloHeader,
            RegisterHeader,
            SumsHeader,
            CountsHeader,
            ProbedHeader,
            SmashedHeader,
            UpdateHeader,
            WithdrawnHeader,
            EchoHeader,
        ),
        *(WelcomeHeader, RefusedHeader, ScaleHeader, ClassScaleHeader, ProbeHeader, OpenRoundHeader, FinishHeader),
        *(ClosedHeader, MeasureHeader, GoodbyeHeader),
    )
}
"""The schema of each kind."""
