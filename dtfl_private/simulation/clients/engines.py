"""The engines that a device computes on: its processor cores, its graphics processor, its neural accelerator.

The figures of an engine are those of the roofline model (Williams, Waterman, Patterson, Communications of the ACM,
52(4), 2009), and the time that each operator takes to be launched: `dtfl_private.simulation.costs.roofline` makes times
of them.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer

EngineName = Literal["cpus", "gpu", "npu"]
EnginePrecision = Literal["fp64", "fp32", "bf16", "fp16", "int8"]
OperatorClass = Literal[
    "conv",
    "pointwise-conv",
    "depthwise-conv",
    "linear",
    "attention",
    "normalisation",
    "elementwise",
    "transcendental",
    "random",
    "copy",
    "optimizer",
]
"""What operators are told apart by: how well an engine does on them differs by it."""

Rate = Annotated[float, Field(ge=1e3, le=1e18)]
Bandwidth = Annotated[float, Field(ge=1e3)]
Bytes = Annotated[float, Field(ge=1)]
LaunchTime = Annotated[float, Field(ge=0, le=10)]
Efficiency = Annotated[float, Field(ge=1e-6, le=1e3)]


class Engine(BaseModel):
    """One engine of a device.

    Attributes:
        macs_per_s: peak multiply-accumulates per second in each precision that it computes in, and in no other. Left
            out of ``cpus``, they compute in fp64, fp32 and bf16 at the speed that the profile's ``cpus`` stand for.
        bytes_per_s: memory bandwidth in bytes per second; infinite where memory never is what is waited for.
        launch_s: seconds until an operator has begun, which nothing hides.
        step_s: seconds that each training step takes besides its operators: to begin the backward pass, to go over the
            weights.
        memory_bytes: what training may take of its memory; infinite where that is no limit.
        efficiency: by class of operators, the share of its roofline that it reaches: the times are divided by it. It is
            1 of classes that are not named; caches can make it larger.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    macs_per_s: Annotated[dict[EnginePrecision, Rate], Field(min_length=1)] | None = None
    bytes_per_s: Bandwidth = math.inf
    launch_s: LaunchTime = 0.0
    step_s: LaunchTime = 0.0
    memory_bytes: Bytes = math.inf
    efficiency: dict[OperatorClass, Efficiency] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _said(self, serialize: Any) -> dict[str, Any]:
        """Leave out what is as if nothing were said: TOML has no null, and JSON no infinity."""
        defaults = Engine.model_fields
        return {
            key: value
            for key, value in serialize(self).items()
            if value != defaults[key].get_default(call_default_factory=True)
        }
