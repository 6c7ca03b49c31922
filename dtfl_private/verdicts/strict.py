"""The base of all parts of audit.json: frozen values that take no unknown key and convert nothing."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of audit.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
