"""The operators of a training step as values: their arithmetic and the bytes that they move, stage by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.clients.engines import EnginePrecision, OperatorClass

CLASSES: tuple[OperatorClass, ...] = get_args(OperatorClass)
PRECISIONS: tuple[EnginePrecision, ...] = get_args(EnginePrecision)


@dataclass(frozen=True, kw_only=True)
class Operators:
    """O operators in the order in which they run, as arrays (O,).

    Attributes:
        kind_O: class, a place in `CLASSES`.
        precision_O: what it computes in, a place in `PRECISIONS`.
        image_macs_O: multiply-accumulates per image of the batch.
        image_bytes_O: bytes moved per image of the batch.
        step_bytes_O: bytes moved besides, once per step.
        launches_O: how many operators each entry stands for.
        steps: training steps: 1, or 0 of what is no whole step.
    """

    kind_O: IntArray
    precision_O: IntArray
    image_macs_O: FloatArray
    image_bytes_O: FloatArray
    step_bytes_O: FloatArray
    launches_O: FloatArray
    steps: float = 0.0

    def step_macs_O(self, batch_size: int) -> FloatArray:
        """Return each operator's multiply-accumulates in a step of so many images."""
        return batch_size * self.image_macs_O

    def moved_bytes_O(self, batch_size: int) -> FloatArray:
        """Return the bytes that each operator moves in a step of so many images."""
        return batch_size * self.image_bytes_O + self.step_bytes_O


def joined(parts: Sequence[Operators]) -> Operators:
    """Return operators that run one after the other."""
    arrays = [name for name in Operators.__dataclass_fields__ if name.endswith("_O")]
    return Operators(
        **{name: np.concatenate([getattr(part, name) for part in (NO_OPERATORS, *parts)]) for name in arrays},
        steps=sum(part.steps for part in parts),
    )


_NOTHING = np.empty(0)
NO_OPERATORS = Operators(
    kind_O=_NOTHING.astype(np.int64),
    precision_O=_NOTHING.astype(np.int64),
    image_macs_O=_NOTHING,
    image_bytes_O=_NOTHING,
    step_bytes_O=_NOTHING,
    launches_O=_NOTHING,
)


@dataclass(frozen=True, kw_only=True)
class KeptBytes:
    """What a stage keeps of its forward pass for the backward pass.

    Attributes:
        image: bytes per image of the batch, without the stage's input.
        step: bytes besides.
        input_image: bytes per image of its input, if it keeps that; 0 if not.
        keeps_output: whether its output is among what it keeps.
    """

    image: float
    step: float
    input_image: float
    keeps_output: bool


@dataclass(frozen=True, kw_only=True)
class StageOperators:
    """What a stage does in a step, and what it holds.

    Attributes:
        forward: the forward pass.
        first: forward and backward, if no gradient goes to its input.
        inner: forward and backward, if one does.
        kept: activations that the backward pass needs.
        kept_first: likewise, if no gradient goes to its input.
        weight_bytes: of parameters and buffers, frozen weights among them.
        trained_bytes: of the parameters that are trained.
        tensors: how many tensors these are.
    """

    forward: Operators
    first: Operators
    inner: Operators
    kept: KeptBytes
    kept_first: KeptBytes
    weight_bytes: int
    trained_bytes: int
    tensors: int


@dataclass(frozen=True, kw_only=True)
class NetworkOperators:
    """What a network's training consists of.

    Attributes:
        stages: all stages.
        heads: auxiliary heads by tier.
        loss: behind a head, or behind the last stage.
        input_bytes: of one input.
        weight_precision: what weights are stored in, a place in `PRECISIONS`.
    """

    stages: Sequence[StageOperators]
    heads: Mapping[int, StageOperators]
    loss: Operators
    input_bytes: int
    weight_precision: int
