"""What `list models` shows: each network at the usual input, built without weights."""

import torch

from dtfl_private.models.build import build_model
from dtfl_private.models.input_kinds import network_facts
from dtfl_private.plugins.descriptions import described
from dtfl_private.plugins.installed import find
from dtfl_private.report.tables.networks import ListedModel

CLASSES = 10
UNKNOWN = "-"


def listed_models() -> list[ListedModel]:
    """Return a line for each installed network; one that says nothing of itself is listed by name and settings."""
    rows = []
    for name, settings, summary in described("model"):
        facts = network_facts(find("model", name).load())
        takes = source = tiers = parameters = UNKNOWN
        if facts is not None:
            with torch.device("meta"):
                model = build_model(name, input_shape=facts.example, classes=CLASSES, norm="batch", seed=0)
            count = sum(parameter.numel() for parameter in model.parameters())
            takes, source, tiers, parameters = facts.takes, facts.source, str(len(model.tiers)), f"{count:,}"
        rows.append(
            ListedModel(
                name=name,
                takes=takes,
                tiers=tiers,
                parameters=parameters,
                settings=settings,
                summary=summary,
                source=source,
            )
        )
    return rows
