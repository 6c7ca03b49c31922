"""The table ``[plan]`` of a preset: its runs are planned and not trained.

    [plan]
    input_shape = "3x32x32"           # what `plan` is told in place of data
    classes = 10
    images_per_client = 5000
    x = "ema"                         # a key of CONFIG.toml: the horizontal axis of the pictures
    reference = 0.6666666666666666    # its value that others are held against
    panels = ["drift", "noise"]       # keys whose values are the rows and columns of panels; what else varies are lines
    against = "fedavg"                # show how many times faster than this method, in place of regret

``input_shape`` may be a list, and ``cuts`` is a list of how many automatic cuts the networks have: each is one more key
that varies, for ``x`` and ``panels``, and else for lines.

A key that goes with one of these three, as ``join`` may with ``leave``, is no axis of its own: it sets no lines apart.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.plugins.specification import canonical


class Told(BaseModel):
    """What a plan is told in place of data, and how many automatic cuts its network has; None: as it says itself."""

    model_config = ConfigDict(frozen=True)

    input_shape: str
    cuts: int | None

    def model(self, text: str) -> str:
        """Return the specification of a network, with this many cuts."""
        return text if self.cuts is None else f"{text}{',' if ':' in text else ':'}cuts={self.cuts}"


class PlanTable(BaseModel):
    """The table ``[plan]`` of a preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: str | Annotated[list[str], Field(min_length=1, max_length=100)] = "3x32x32"
    cuts: Annotated[list[Annotated[int, Field(ge=1, le=10**4)]], Field(min_length=1, max_length=100)] | None = None
    classes: Annotated[int, Field(ge=2, le=10**6)] = 10
    images_per_client: Annotated[int, Field(ge=1, le=2**31 - 1)] = 500
    x: str
    reference: float | int | str
    panels: Annotated[list[str], Field(min_length=2, max_length=2)]
    against: str | None = None

    @property
    def told(self) -> list[Told]:
        """What each configuration is planned with in turn."""
        shapes = [self.input_shape] if isinstance(self.input_shape, str) else self.input_shape
        numbers: Sequence[int | None] = self.cuts or [None]
        return [Told(input_shape=shape, cuts=cuts) for shape in shapes for cuts in numbers]

    def values(self, config: TrainConfig, told: Told, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of keys of a configuration, or of what it is planned with."""
        return {key: getattr(told if key in Told.model_fields else config, key) for key in keys}

    def varying(self, configs: Sequence[TrainConfig]) -> list[str]:
        """Return the keys in which plans differ, but for the seed."""
        own = [key for key in Told.model_fields if len({getattr(told, key) for told in self.told}) > 1]
        return [*own, *varying_keys(configs)]

    def require_varying(self, configs: Sequence[TrainConfig], where: str) -> None:
        """Raise `InputError` if an axis is none of the keys that vary, the reference none of its values, or no method.

        The last one is ``against``.
        """
        if self.against is not None:
            canonical("method", self.against)
        varying = self.varying(configs)
        for key in (self.x, *self.panels):
            if key not in varying:
                raise unknown_name(f"axis in [plan] of {where}:", key, varying)
        held = {self.values(config, told, [self.x])[self.x] for config in configs for told in self.told}
        if self.reference not in (values := sorted(held)):
            raise InputError(
                f"reference {self.reference} in [plan] of {where} is none of the values of {self.x}: {values}"
            )


def varying_keys(configs: Sequence[TrainConfig]) -> list[str]:
    """Return the keys, but for the seed, in which configurations differ."""
    return [
        key
        for key in TrainConfig.model_fields
        if key != "seed" and any(getattr(config, key) != getattr(configs[0], key) for config in configs)
    ]
