"""What `list models` shows: each network at the usual input, built without weights."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

import torch

from dtfl_private.models.build import build_model
from dtfl_private.models.input_kinds import network_facts
from dtfl_private.plugins.descriptions import description
from dtfl_private.plugins.factories import load
from dtfl_private.report.tables.facts import Facts

CLASSES = 10
UNKNOWN = "-"


def models_from_code(points: Mapping[str, EntryPoint]) -> dict[str, Facts]:
    """Return what is to be said of networks; one that says nothing of itself is listed by name and settings."""
    return {name: _facts(name, point) for name, point in points.items()}


def _facts(name: str, point: EntryPoint) -> Facts:
    settings, summary = description("model", point)
    known = network_facts(load("model", point))
    takes = source = tiers = parameters = UNKNOWN
    if known is not None:
        takes, source = known.takes, known.source
    if known is not None and not known.needs:
        with torch.device("meta"):
            model = build_model(name, input_shape=known.example, classes=CLASSES, norm="batch", seed=0)
        count = sum(parameter.numel() for parameter in model.parameters())
        tiers, parameters = str(len(model.tiers)), f"{count:,}"
    return {
        "takes": takes,
        "tiers": tiers,
        "params": parameters,
        "settings": settings,
        "what it is": summary,
        "source": source,
    }
