"""The table of predicted against measured training steps."""

import statistics
from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

from dtfl_private.printable import short_name
from dtfl_private.report.tables.plain import plain_table


class PredictedStep(Protocol):
    """A training step as predicted and as measured, in seconds."""

    @property
    def model(self) -> str: ...  # noqa: D102 - the network

    @property
    def engine(self) -> str: ...  # noqa: D102 - what it ran on

    @property
    def predicted_s(self) -> float: ...  # noqa: D102 - by the roofline

    @property
    def by_macs_s(self) -> float: ...  # noqa: D102 - by multiply-accumulates at the peak alone

    @property
    def measured_s(self) -> float: ...  # noqa: D102 - by the clock

    @property
    def error(self) -> float: ...  # noqa: D102 - of the prediction, as a share of what was measured


def prediction_table(steps: Sequence[PredictedStep], *, title: str) -> Table:
    """Return a row for each network and engine: how many steps, their range, and how far off predictions are."""
    columns = ("network", "engine", "steps", "measured, ms", "predicted, ms", "median error", "worst", "by MACs alone")
    table = plain_table(title, *columns)
    for model, engine in dict.fromkeys((step.model, step.engine) for step in steps):
        own = [step for step in steps if (step.model, step.engine) == (model, engine)]
        by_macs = [abs(step.by_macs_s / step.measured_s - 1) for step in own]
        table.add_row(
            short_name(model),
            engine,
            str(len(own)),
            _range([step.measured_s for step in own]),
            _range([step.predicted_s for step in own]),
            f"{statistics.median(step.error for step in own):.1%}",
            f"{max(step.error for step in own):.1%}",
            f"{statistics.median(by_macs):.1%}",
        )
    table.caption = (
        "steps: forward, backward and Adam's step of a client in each tier, with its auxiliary head, and of the whole "
        "network; by MACs alone: median error of MACs divided by the peak"
    )
    table.caption_justify = "left"
    return table


def _range(seconds: Sequence[float]) -> str:
    return f"{min(seconds) * 1e3:.3g} to {max(seconds) * 1e3:.3g}"
