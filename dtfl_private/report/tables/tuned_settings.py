"""Chosen settings: a row for each group of runs whose settings were chosen by trials."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import Comparison, Group
from dtfl_private.report.tables.comparison import BLANK
from dtfl_private.report.tables.plain import as_printed, plain_table

COLUMNS = ("method", "chosen settings", "trial", "accuracy", "untuned", "time, s", "untuned")


def tuned_settings_tables(comparison: Comparison) -> list[Table]:
    """Return one table for each setting with tuned groups."""
    tables = []
    for setting in comparison.settings:
        tuned = [group for group in setting.groups if group.tuned is not None]
        if tuned:
            table = plain_table(f"chosen by trials: {setting.name}", *COLUMNS)
            table.columns[1].justify = "left"
            for group in tuned:
                table.add_row(*map(as_printed, tuned_cells(group)))
            tables.append(table)
    return tables


def tuned_cells(group: Group) -> list[str]:
    """Return a tuned group's row, one text for each of `COLUMNS`."""
    tuned = group.tuned
    if tuned is None:
        return [group.name, *[BLANK] * (len(COLUMNS) - 1)]
    chosen, untuned = tuned.choice, tuned.trials[0]
    return [
        group.name,
        settings_text(chosen.settings),
        f"{tuned.chosen + 1} of {len(tuned.trials)}",
        *(_accuracy(outcome.accuracy) for outcome in (chosen, untuned)),
        *(_seconds(outcome.time_to_target_s) for outcome in (chosen, untuned)),
    ]


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as "lr 0.003, server_lr 0.1"."""
    parts = [f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()]
    return printable(", ".join(parts)) or BLANK


def _accuracy(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4f}"


def _seconds(value: float | None) -> str:
    return BLANK if value is None else f"{value:.3g}"


def tuned_settings_legend(comparison: Comparison) -> list[str]:
    """Return what the columns mean, in sentences; none if no settings were chosen."""
    if not any(group.tuned for setting in comparison.settings for group in setting.groups):
        return []
    return [
        "Chosen by trials: settings of the best of equally many trials for each method, with accuracy and time to the "
        "target on validation images, which no run in the tables above trained on; beside each that of the untuned "
        "settings, which are trial 1.",
    ]
