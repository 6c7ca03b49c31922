"""What was asked of a search: tune.toml, which is all that a resume needs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.choosing.limits import Limit, parse_limits
from dtfl_private.choosing.space import Space, space_document, space_of
from dtfl_private.choosing.trial import Rules
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.field_kinds import NOTHING
from dtfl_private.experiments.config.toml_files import load_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.leakage.results.result import first_fault
from dtfl_private.plugins.own_objects import Allowed

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Trials = Annotated[int, Field(ge=2, le=10_000)]
Hours = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Audits = Annotated[int, Field(ge=1, le=20)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=50)]
    max_accuracy_loss: Share = 0.02
    max_time_ratio: Ratio = 1.5
    trials: Trials | None = None
    hours: Hours | None = None
    audits: Audits = 3
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked of a search.

    Attributes:
        config: the untouched configuration.
        rules: that are to be kept.
        space: to choose from; None for the built-in one.
        trials: on the first rung; None where ``hours`` say how many.
        hours: that it may take; None where ``trials`` says how many.
        audits: points that are audited at most, until one is confirmed.
        seed: of the search; not that of trainings.
    """

    config: TrainConfig
    rules: Rules
    space: Space | None = None
    trials: int | None = None
    hours: float | None = None
    audits: int = 3
    seed: int = 0

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits on leakage."""
        return tuple(self.rules.limits)

    def settled(self, space: Space, trials: int | None) -> "Request":
        """Return the request with its space, and with its number of trials as far as that is known."""
        return replace(self, space=space, trials=trials)


def make_request(config: TrainConfig, space: Space | None, **asked: object) -> Request:
    """Return a request.

    Args:
        config: the untouched configuration.
        space: to choose from; None for the built-in one.
        asked: ``limits`` as written, and the other fields of a request.

    Raises:
        InputError: the first refused value, in one line.
    """
    try:
        values = _Asked.model_validate(asked)
    except ValidationError as error:
        if not asked.get("limits"):
            parse_limits([])
        raise InputError(f"tune: {first_fault(error)}") from None
    if values.trials is not None and values.hours is not None:
        raise InputError("trials and hours both say how long the search may be: give one of them")
    rules = Rules(
        limits=parse_limits(values.limits),
        max_accuracy_loss=values.max_accuracy_loss,
        max_time_ratio=values.max_time_ratio,
    )
    return Request(
        config=config,
        rules=rules,
        space=space,
        trials=values.trials,
        hours=values.hours,
        audits=values.audits,
        seed=values.seed,
    )


def request_toml(request: Request) -> str:
    """Return the text of tune.toml."""
    rules = request.rules
    asked: dict[str, Any] = {
        "limits": [str(limit) for limit in rules.limits],
        "max_accuracy_loss": rules.max_accuracy_loss,
        "max_time_ratio": rules.max_time_ratio,
        "audits": request.audits,
        "seed": request.seed,
    }
    asked |= {key: value for key in ("trials", "hours") if (value := getattr(request, key)) is not None}
    config = {key: NOTHING if value is None else value for key, value in request.config.model_dump(mode="json").items()}
    assert request.space is not None
    return tomli_w.dumps({"tune": asked, "config": config, "space": space_document(request.space)})


def read_request(path: Path, allowed: Allowed) -> Request:
    """Return what tune.toml asks, which may come from anybody.

    Args:
        path: of the file.
        allowed: what its configuration may name by its module.

    Raises:
        InputError: it cannot be read, or asks for something that is refused.
    """
    values = load_toml(path, "tune file")
    source = f"tune file '{path}'"
    if values.keys() != {"tune", "config", "space"} or not all(isinstance(one, Mapping) for one in values.values()):
        raise InputError(f"{source} is refused: expected the tables tune, config and space, and no others")
    config = make_config(values["config"], str(path), allowed=allowed)
    space = space_of(values["space"], source)
    asked = dict(values["tune"])
    # Both stand there once hours have been turned into trials.
    hours = asked.pop("hours", None) if "trials" in asked else None
    if hours is not None and not isinstance(hours, float | int):
        raise InputError(f"{source}: hours {hours!r} is no number")
    try:
        request = make_request(config, space, **asked)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return request if hours is None else replace(request, hours=float(hours))
