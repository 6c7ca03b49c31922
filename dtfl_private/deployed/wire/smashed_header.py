"""The header of a batch of smashed data, in whatever form its activations are sent."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.header import Header, Natural, Positive, require_names
from dtfl_private.deployed.wire.kinds import Smashed
from dtfl_private.deployed.wire.layout import in_order, order_of
from dtfl_private.deployed.wire.packing import as_sent, dense_bytes, packed_of, tensors_of, unpacked
from dtfl_private.deployed.wire.tensors import DTYPES, MOST_AXES
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.protocol.packed import Packed, Quantized

NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}


class SmashedHeader(Header):
    """Of `Smashed`.

    form: whether the activations are sent as they are, as codes of even steps, or as values with their places.
    shape, dtype: of the activations as they are once unpacked.
    order: of their axes in the client's memory, which the server restores; all values are sent in that of the shape.
    """

    of_kind = Smashed
    kind: Literal["smashed"]
    client: Natural
    round: Positive
    tier: Positive
    batch: Natural
    labelled: bool
    form: Literal["values", "codes8", "codes4", "places"]
    shape: Annotated[list[Positive], Field(min_length=2, max_length=MOST_AXES)]
    dtype: Literal["F64", "F32", "F16", "BF16"]
    order: Annotated[list[Natural], Field(max_length=MOST_AXES)]

    @classmethod
    def of(cls, frame: Smashed) -> tuple[Self, State]:
        """Return the numbers of the batch, and what is sent of its activations and labels."""
        said = frame.message
        packed = as_sent(said)
        tensors = dict({"smashed": said.smashed} if packed is None else tensors_of(packed))
        if said.labelled:
            tensors["labels"] = said.labels
        kept = {field.name: getattr(said, field.name) for field in fields(said) if field.name in cls.model_fields}
        described: dict[str, Any] = {
            "form": _form(packed),
            "shape": list(said.smashed.shape),
            "dtype": NAMES.get(said.smashed.dtype, str(said.smashed.dtype)),
            "order": order_of(said.smashed),
        }
        return cls(kind="smashed", session=frame.session, **kept, **described), tensors

    def frame(self, tensors: State, most_bytes: int) -> Smashed:
        """Return the batch, its activations unpacked if they are at most so many bytes then."""
        shape, dtype = torch.Size(self.shape), DTYPES[self.dtype]
        if dense_bytes(shape, dtype) > most_bytes:
            raise WireError(f"activations of {self.dtype} {self.shape} have more than {most_bytes:,} bytes")
        activations = dict(tensors)
        labels = self._labels(activations)
        packed, smashed = self._activations(activations, shape, dtype)
        message = SmashedBatch(
            client=self.client,
            round=self.round,
            tier=self.tier,
            batch=self.batch,
            smashed=in_order(smashed, self.order),
            labels=labels,
            packed_bytes=None if packed is None else packed.size_bytes,
            labelled=self.labelled,
            packed=packed,
        )
        return Smashed(session=self.session, message=message)

    def _activations(self, tensors: State, shape: torch.Size, dtype: torch.dtype) -> tuple[Packed | None, Tensor]:
        """Return the packed form that came, if one did, and the values."""
        if self.form != "values":
            packed = packed_of(tensors, {"codes8": 8, "codes4": 4}.get(self.form))
            return packed, unpacked(packed, shape, dtype)
        require_names(tensors, ("smashed",))
        smashed = tensors["smashed"]
        if smashed.shape != shape or smashed.dtype != dtype:
            came = f"{smashed.dtype} {list(smashed.shape)}"
            raise WireError(f"activations: {came} came, the header says {dtype} {self.shape}")
        return None, smashed

    def _labels(self, tensors: dict[str, Tensor]) -> Tensor:
        """Take the labels out of the tensors, or return what stands for those that are not sent."""
        batch = self.shape[0]
        if not self.labelled:
            return torch.zeros(batch, dtype=torch.int64)
        labels = tensors.pop("labels", None)
        if labels is None or labels.dtype != torch.int64 or labels.shape != (batch,):
            came = "none" if labels is None else f"{labels.dtype} {tuple(labels.shape)}"
            raise WireError(f"labels: {came} came, expected torch.int64 ({batch},)")
        return labels


def _form(packed: Packed | None) -> str:
    if packed is None:
        return "values"
    return f"codes{packed.bits}" if isinstance(packed, Quantized) else "places"
