"""Which model a run is reported by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The model that validation images select, or else the last one.

    Attributes:
        round: after which it was the global model.
        test: its figures on test images, see `class_figures`.
        clients: its figures by client; None where there are none.
    """

    round: int
    test: Mapping[str, Any]
    clients: Mapping[str, Any] | None


def reported(summary: Mapping[str, Any]) -> Reported:
    """Return the model by which a finished run is reported, from its summary."""
    if summary.get("selected_test") is None:
        return Reported(round=summary["rounds"], test=summary["test"], clients=summary["clients"])
    return Reported(round=summary["selected_round"], test=summary["selected_test"], clients=summary["selected_clients"])
