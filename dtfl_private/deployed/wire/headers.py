"""The headers of frames, one schema for each kind: its numbers and texts as JSON, its tensors by their names.

A header is made of a frame, and a frame of a header with its tensors. Whether they fit the run is not asked here.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from dtfl_private.deployed.wire import kinds
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import WireMessage
from dtfl_private.deployed.wire.packing import as_sent, dense_bytes, packed_of, tensors_of, unpacked
from dtfl_private.deployed.wire.tensors import DTYPES, MOST_AXES
from dtfl_private.files.reading import LARGEST_TOML_BYTES
from dtfl_private.printable import one_line
from dtfl_private.protocol.messages import (
    ChannelScale,
    ChannelSums,
    ClassCounts,
    ClassWeights,
    ModelDownload,
    SmashedBatch,
    State,
    WeightUpdate,
    Wire,
    below,
)
from dtfl_private.protocol.packed import Quantized

Natural = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Rate = Annotated[float, Field(gt=0, le=1e9)]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Text = Annotated[str, Field(max_length=300)]
Reason = Annotated[str, Field(max_length=2000)]
Dtype = Literal["F64", "F32", "F16", "BF16"]

NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}


class Header(BaseModel):
    """What all headers have; a kind without tensors needs no more than its fields."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    of_kind: ClassVar[type[WireMessage]]

    kind: str
    session: Natural

    @classmethod
    def of(cls, frame: Any) -> tuple[Self, State]:
        """Return a frame's header and tensors."""
        values = {field.name: getattr(frame, field.name) for field in fields(frame)}
        if "reason" in values:  # it may quote names of anybody
            values["reason"] = one_line(values["reason"])
        return cls(kind=frame.kind, **values), {}

    def frame(self, tensors: State, most_bytes: int) -> WireMessage:
        """Return the frame.

        Args:
            tensors: that came with the header.
            most_bytes: of tensors that are made of packed ones.

        Raises:
            WireError: they are not those of this kind.
        """
        require_names(tensors, ())
        return self.of_kind(**{name: getattr(self, name) for name in type(self).model_fields if name != "kind"})


def require_names(tensors: State, names: tuple[str, ...]) -> None:
    """Refuse tensors of other names."""
    if tensors.keys() != set(names):
        raise WireError(f"tensors: {sorted(tensors)} came, expected {sorted(names) or 'none'}")


# ---- what clients say ----


class HelloHeader(Header):
    """Of `Hello`."""

    of_kind = kinds.Hello
    kind: Literal["hello"]
    version: Text
    images: Positive
    config_sha256: Digest
    last_run: Text


class SumsHeader(Header):
    """Of `Sums`."""

    of_kind = kinds.Sums
    kind: Literal["channel-sums"]
    client: Natural
    pixels: Positive

    @classmethod
    def of(cls, frame: kinds.Sums) -> tuple[Self, State]:
        """Return numbers and sums."""
        said = frame.message
        header = cls(kind="channel-sums", session=frame.session, client=said.client, pixels=said.pixels)
        return header, {"sums": said.sums, "squares": said.squares}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Sums:
        """Return the sums."""
        require_names(tensors, ("sums", "squares"))
        return kinds.Sums(session=self.session, message=ChannelSums(client=self.client, pixels=self.pixels, **tensors))


class CountsHeader(Header):
    """Of `Counts`."""

    of_kind = kinds.Counts
    kind: Literal["class-counts"]
    client: Natural

    @classmethod
    def of(cls, frame: kinds.Counts) -> tuple[Self, State]:
        """Return the number of the client, and its counts."""
        header = cls(kind="class-counts", session=frame.session, client=frame.message.client)
        return header, {"counts": frame.message.counts}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Counts:
        """Return the counts."""
        require_names(tensors, ("counts",))
        return kinds.Counts(session=self.session, message=ClassCounts(client=self.client, counts=tensors["counts"]))


class ProbedHeader(Header):
    """Of `Probed`."""

    of_kind = kinds.Probed
    kind: Literal["probed"]
    batch_s: Seconds
    images: Positive


class SmashedHeader(Header):
    """Of `Smashed`.

    shape, dtype: of the activations once unpacked; shape is theirs too where they are sent as they are.
    form: whether they are sent as they are, as codes of even steps, or as values with their places.
    """

    of_kind = kinds.Smashed
    kind: Literal["smashed"]
    client: Natural
    round: Positive
    tier: Positive
    batch: Natural
    labelled: bool
    form: Literal["values", "codes8", "codes4", "places"]
    shape: Annotated[list[Positive], Field(min_length=2, max_length=MOST_AXES)]
    dtype: Dtype

    @classmethod
    def of(cls, frame: kinds.Smashed) -> tuple[Self, State]:
        """Return the numbers of the batch, and what is sent of its activations and labels."""
        said = frame.message
        packed = as_sent(said)
        tensors = dict({"smashed": said.smashed} if packed is None else tensors_of(packed))
        if said.labelled:
            tensors["labels"] = said.labels
        form = "values" if packed is None else f"codes{packed.bits}" if isinstance(packed, Quantized) else "places"
        header = cls(
            kind="smashed",
            session=frame.session,
            client=said.client,
            round=said.round,
            tier=said.tier,
            batch=said.batch,
            labelled=said.labelled,
            form=cast(Any, form),  # pydantic checks it
            shape=list(said.smashed.shape),
            dtype=cast(Any, NAMES.get(said.smashed.dtype, str(said.smashed.dtype))),  # likewise
        )
        return header, tensors

    def frame(self, tensors: State, most_bytes: int) -> kinds.Smashed:
        """Return the batch, its activations unpacked."""
        activations = dict(tensors)
        shape, dtype = torch.Size(self.shape), DTYPES[self.dtype]
        if dense_bytes(shape, dtype) > most_bytes:
            raise WireError(f"activations of {self.dtype} {self.shape} are more than {most_bytes:,} bytes")
        labels = self._labels(activations)
        packed = None
        if self.form == "values":
            require_names(activations, ("smashed",))
            smashed = activations["smashed"]
        else:
            bits = {"codes8": 8, "codes4": 4}.get(self.form)
            packed = packed_of(activations, bits)
            smashed = unpacked(packed, shape, dtype)
        if smashed.shape != shape or smashed.dtype != dtype:
            raise WireError(
                f"activations: {smashed.dtype} {tuple(smashed.shape)} came, the header says {dtype} {self.shape}"
            )
        message = SmashedBatch(
            client=self.client,
            round=self.round,
            tier=self.tier,
            batch=self.batch,
            smashed=smashed,
            labels=labels,
            packed_bytes=None if packed is None else packed.size_bytes,
            labelled=self.labelled,
            packed=packed,
        )
        return kinds.Smashed(session=self.session, message=message)

    def _labels(self, tensors: dict[str, Tensor]) -> Tensor:
        """Take the labels out of the tensors, or return what stands for those that are not sent."""
        if not self.labelled:
            return torch.zeros(self.shape[0], dtype=torch.int64)
        labels = tensors.pop("labels", None)
        if labels is None or labels.dtype != torch.int64 or labels.shape != (self.shape[0],):
            came = "none" if labels is None else f"{labels.dtype} {tuple(labels.shape)}"
            raise WireError(f"labels: {came} came, expected torch.int64 ({self.shape[0]},)")
        return labels


class UpdateHeader(Header):
    """Of `Update`."""

    of_kind = kinds.Update
    kind: Literal["update"]
    client: Natural
    round: Positive
    tier: Positive
    examples: Positive
    compute_s: Seconds
    images: Natural

    @classmethod
    def of(cls, frame: kinds.Update) -> tuple[Self, State]:
        """Return the numbers of an update, and its weights."""
        said = frame.message
        header = cls(
            kind="update",
            session=frame.session,
            client=said.client,
            round=said.round,
            tier=said.tier,
            examples=said.examples,
            compute_s=frame.compute_s,
            images=frame.images,
        )
        return header, _named(said.weights, said.head)

    def frame(self, tensors: State, most_bytes: int) -> kinds.Update:
        """Return the update."""
        weights, head = _weights_and_head(tensors)
        message = WeightUpdate(
            client=self.client,
            round=self.round,
            tier=self.tier,
            examples=self.examples,
            weights=weights,
            head=head,
        )
        return kinds.Update(session=self.session, message=message, compute_s=self.compute_s, images=self.images)


class WithdrawnHeader(Header):
    """Of `Withdrawn`."""

    of_kind = kinds.Withdrawn
    kind: Literal["withdrawn"]
    round: Positive
    reason: Reason


class EchoHeader(Header):
    """Of `Echo`."""

    of_kind = kinds.Echo
    kind: Literal["echo"]
    number: Natural

    @classmethod
    def of(cls, frame: kinds.Echo) -> tuple[Self, State]:
        """Return the number of the measurement, and the payload."""
        return cls(kind="echo", session=frame.session, number=frame.number), {"payload": _tensor(frame.payload)}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Echo:
        """Return the echo."""
        require_names(tensors, ("payload",))
        return kinds.Echo(session=self.session, number=self.number, payload=_bytes_of(tensors["payload"]))


# ---- what the server says ----


class WelcomeHeader(Header):
    """Of `Welcome`; the configuration goes as bytes, so that headers stay small."""

    of_kind = kinds.Welcome
    kind: Literal["welcome"]
    run: Text
    client: Natural
    config_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    largest: Positive

    @classmethod
    def of(cls, frame: kinds.Welcome) -> tuple[Self, State]:
        """Return run and client, and the configuration."""
        header = cls(
            kind="welcome",
            session=frame.session,
            run=frame.run,
            client=frame.client,
            config_sha256=frame.config_sha256,
            largest=frame.largest,
        )
        return header, {"config": _tensor(frame.config.encode())}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Welcome:
        """Return the welcome."""
        require_names(tensors, ("config",))
        text = _bytes_of(tensors["config"])
        if len(text) > LARGEST_TOML_BYTES:
            raise WireError(f"configuration: {len(text):,} bytes: at most {LARGEST_TOML_BYTES:,} are read")
        try:
            config = text.decode()
        except UnicodeDecodeError:
            raise WireError("configuration: not UTF-8 text") from None
        return kinds.Welcome(
            session=self.session,
            run=self.run,
            client=self.client,
            config=config,
            config_sha256=self.config_sha256,
            largest=self.largest,
        )


class RefusedHeader(Header):
    """Of `Refused`."""

    of_kind = kinds.Refused
    kind: Literal["refused"]
    reason: Reason


class ScaleHeader(Header):
    """Of `Scale`."""

    of_kind = kinds.Scale
    kind: Literal["scale"]
    client: Natural

    @classmethod
    def of(cls, frame: kinds.Scale) -> tuple[Self, State]:
        """Return the number of the client, and means and deviations."""
        said = frame.message
        header = cls(kind="scale", session=frame.session, client=said.client)
        return header, {"mean": said.mean, "deviation": said.deviation}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Scale:
        """Return the scale."""
        require_names(tensors, ("mean", "deviation"))
        return kinds.Scale(session=self.session, message=ChannelScale(client=self.client, **tensors))


class WeightsHeader(Header):
    """Of `Weights`."""

    of_kind = kinds.Weights
    kind: Literal["class-weights"]
    client: Natural

    @classmethod
    def of(cls, frame: kinds.Weights) -> tuple[Self, State]:
        """Return the number of the client, and the weights of classes."""
        header = cls(kind="class-weights", session=frame.session, client=frame.message.client)
        return header, {"weights": frame.message.weights}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Weights:
        """Return the weights of classes."""
        require_names(tensors, ("weights",))
        message = ClassWeights(client=self.client, weights=tensors["weights"])
        return kinds.Weights(session=self.session, message=message)


class _DownloadHeader(Header):
    """What has the weights of a client half."""

    client: Natural
    round: Natural
    tier: Positive
    wire: Wire | None
    lr: Rate

    @classmethod
    def of(cls, frame: kinds.Probe | kinds.OpenRound) -> tuple[Self, State]:
        """Return all numbers of the frame, and the weights."""
        said = frame.message
        own = {field.name: getattr(frame, field.name) for field in fields(frame) if field.name != "message"}
        header = cls(kind=frame.kind, client=said.client, round=said.round, tier=said.tier, wire=said.wire, **own)
        return header, _named(said.weights, said.head)

    def frame(self, tensors: State, most_bytes: int) -> WireMessage:
        """Return the frame with its download."""
        weights, head = _weights_and_head(tensors)
        numbers = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        download = {name: numbers.pop(name) for name in ("client", "round", "tier", "wire")}
        return self.of_kind(**numbers, message=ModelDownload(**download, weights=weights, head=head))


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
    kind: Literal["measure"]
    number: Natural
    reply_bytes: Natural

    @classmethod
    def of(cls, frame: kinds.Measure) -> tuple[Self, State]:
        """Return the number of the measurement and what is asked for, and the payload."""
        header = cls(kind="measure", session=frame.session, number=frame.number, reply_bytes=frame.reply_bytes)
        return header, {"payload": _tensor(frame.payload)}

    def frame(self, tensors: State, most_bytes: int) -> kinds.Measure:
        """Return the measurement."""
        require_names(tensors, ("payload",))
        return kinds.Measure(
            session=self.session,
            number=self.number,
            payload=_bytes_of(tensors["payload"]),
            reply_bytes=self.reply_bytes,
        )


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
            SumsHeader,
            CountsHeader,
            ProbedHeader,
            SmashedHeader,
            UpdateHeader,
            WithdrawnHeader,
            EchoHeader,
        ),
        *(WelcomeHeader, RefusedHeader, ScaleHeader, WeightsHeader, ProbeHeader, OpenRoundHeader, FinishHeader),
        *(ClosedHeader, MeasureHeader, GoodbyeHeader),
    )
}
"""The schema of each kind."""


def _named(weights: State, head: State) -> State:
    named = {f"weights/{name}": tensor for name, tensor in weights.items()}
    return named | {f"head/{name}": tensor for name, tensor in head.items()}


def _weights_and_head(tensors: State) -> tuple[State, State]:
    """Return both by their own names."""
    for name in tensors:
        if not name.startswith(("weights/", "head/")):
            raise WireError(f"tensors: '{name}' is neither of the weights nor of the head")
    return below("weights/", tensors), below("head/", tensors)


def _tensor(payload: bytes) -> Tensor:
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.empty(0, dtype=torch.uint8)


def _bytes_of(tensor: Tensor) -> bytes:
    if tensor.dtype != torch.uint8 or tensor.ndim != 1:
        raise WireError(f"payload: {tensor.dtype} {tuple(tensor.shape)} came, expected bytes")
    return tensor.numpy().tobytes()
