"""The figures of each class in a run's summary, which may come from anybody."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Share = float | None


class ClassRow(BaseModel):
    """How well a model tells one class; None where the class has no images.

    Attributes:
        support: images of the class.
        precision: share of the images that it takes for this class that are of it.
        recall: share of the class's images that it takes for it.
        f1: harmonic mean of the two.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    support: int = Field(ge=0)
    precision: Share = Field(ge=0, le=1)
    recall: Share = Field(ge=0, le=1)
    f1: Share = Field(ge=0, le=1)


_ROWS = TypeAdapter(tuple[ClassRow, ...])


def class_rows(summary: Mapping[str, Any], classes: int) -> tuple[ClassRow, ...]:
    """Return the figures of the last model on each class; empty where a summary has none for so many classes."""
    test = summary.get("test")
    found = test.get("per_class") if isinstance(test, Mapping) else None
    if not isinstance(found, list) or len(found) != classes:
        return ()
    try:
        return _ROWS.validate_python(tuple(found))
    except ValidationError:
        return ()
