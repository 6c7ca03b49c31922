"""What the server's operator decides: ``[tool.flwr.app.config]`` of the app, and ``flwr run --run-config``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError
from dtfl_private.printable import shown_value


class RunSettings(BaseModel):
    """How a run is served; on the machine of the SuperLink.

    Attributes:
        out: run folder.
        resume: go on with the run in it; start it if there is none.
        transport: ``session``: clients connect to the server's own port; ``reply``: all goes through Flower.
        listen: HOST:PORT for ``session``; port 0 takes any that is free.
        reached_at: HOST:PORT under which clients reach that; port 0: the same as listened on.
        min_clients: begin as soon as so many clients are there; 0: all.
        round_deadline: seconds after which clients are told to finish.
        stragglers: average what a client has by then, or leave it out.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )

    out: Annotated[str, Field(min_length=1)]
    resume: bool = True
    transport: Literal["session", "reply"] = "session"
    listen: str = "0.0.0.0:8443"
    reached_at: str = "localhost:8443"
    min_clients: Annotated[int, Field(ge=0)] = 0
    round_deadline: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False, strict=False)] = 600.0
    stragglers: Literal["average", "drop"] = "average"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out)


def read_settings(run_config: Mapping[str, Any]) -> RunSettings:
    """Return what an app's configuration says.

    Raises:
        InputError: a key is unknown or missing, or a value is none.
    """
    try:
        return RunSettings.model_validate(dict(run_config))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            f"[tool.flwr.app.config]: {key}={shown_value(first['input'])} is refused: {first['msg']}"
        ) from None
