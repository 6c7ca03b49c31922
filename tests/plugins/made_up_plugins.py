"""Plug-ins that the tests offer."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True)
class Noise:
    """Add noise.

    More of the text.
    """

    scale: Annotated[float, Field(gt=0)]
    kind: Literal["normal", "laplace"] = "normal"
    per_channel: bool = False
    min_batch: int = 2


def loader(*, data_dir: str | None = None, download: bool = False, size: int = 16) -> tuple[object, ...]:
    return data_dir, download, size
