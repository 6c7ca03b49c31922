"""What the headers of all kinds have in common: how frames become numbers, texts and named tensors, and are made anew.

A header is one schema: pydantic refuses what is not in it, and nothing is converted. Whether numbers and tensors fit
the run is not asked here.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import WireMessage
from dtfl_private.printable import one_line
from dtfl_private.protocol.messages import State, below

Natural = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
DigestOrNone = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it cannot be shown as it is")
    return text


Text = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
Reason = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]


class Header(BaseModel):
    """Of a kind whose fields are numbers and texts; ``payloads`` are those of bytes, which go as tensors.

    Of a header that a peer sent, `frame` makes the frame; of a frame, `of` makes the header.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    of_kind: ClassVar[Any]  # one of the kinds, made of keywords
    payloads: ClassVar[tuple[str, ...]] = ()

    kind: str
    session: Natural

    @classmethod
    def of(cls, frame: Any) -> tuple[Self, State]:
        """Return a frame's header and tensors."""
        values = {field.name: getattr(frame, field.name) for field in fields(frame)}
        if "reason" in values:  # it may quote names of anybody
            values["reason"] = one_line(values["reason"])
        tensors = {name: tensor_of(values.pop(name)) for name in cls.payloads}
        return cls(kind=frame.kind, **values), tensors

    def frame(self, tensors: State, most_bytes: int) -> WireMessage:
        """Return the frame.

        Args:
            tensors: that came with the header.
            most_bytes: of tensors that are made of packed ones.

        Raises:
            WireError: they are not those of this kind.
            ValueError: the message cannot be, as its own class says.
        """
        require_names(tensors, self.payloads)
        found: WireMessage = self.of_kind(**self.values(), **{name: bytes_of(tensors[name]) for name in self.payloads})
        return found

    def values(self) -> dict[str, Any]:
        """Return the numbers and texts by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


class MessageHeader(Header):
    """Of a kind that wraps a message: the numbers of both, and the message's tensors.

    ``tensors`` are its fields of one tensor, ``states`` those of many, whose names begin with the field's.
    """

    of_message: ClassVar[type[Any]]
    tensors: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, frame: Any) -> tuple[Self, State]:
        """Return the numbers of a frame and its message, and the message's tensors."""
        message = frame.message
        said = {field.name: getattr(message, field.name) for field in fields(message)}
        tensors: dict[str, Tensor] = {name: said.pop(name) for name in cls.tensors}
        for state in cls.states:
            tensors |= {f"{state}/{name}": tensor for name, tensor in said.pop(state).items()}
        own = {field.name: getattr(frame, field.name) for field in fields(frame) if field.name != "message"}
        return cls(kind=frame.kind, **own, **said), tensors

    def frame(self, tensors: State, most_bytes: int) -> WireMessage:
        """Return the frame with its message."""
        if not self.states:
            require_names(tensors, self.tensors)
        values = self.values()
        numbers = {field.name: values.pop(field.name) for field in fields(self.of_message) if field.name in values}
        found: WireMessage = self.of_kind(**values, message=self.of_message(**numbers, **self._parts(tensors)))
        return found

    def _parts(self, tensors: State) -> Mapping[str, Any]:
        """Return the message's fields that hold tensors."""
        parts: dict[str, Any] = {name: tensors[name] for name in self.tensors}
        parts |= {state: below(f"{state}/", tensors) for state in self.states}
        for name in tensors:
            if name.partition("/")[0] not in parts:
                raise WireError(f"tensors: '{name}' belongs to none of {', '.join(parts)}")
        return parts


def require_names(tensors: State, names: tuple[str, ...]) -> None:
    """Refuse tensors of other names."""
    if tensors.keys() != set(names):
        raise WireError(f"tensors: {sorted(tensors)} came, expected {sorted(names) or 'none'}")


def tensor_of(payload: bytes) -> Tensor:
    """Return bytes as a tensor."""
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.empty(0, dtype=torch.uint8)


def bytes_of(tensor: Tensor) -> bytes:
    """Return the bytes of such a tensor, and of no other."""
    if tensor.dtype != torch.uint8 or tensor.ndim != 1:
        raise WireError(f"payload: {tensor.dtype} {tuple(tensor.shape)} came, expected bytes")
    return tensor.numpy().tobytes()
