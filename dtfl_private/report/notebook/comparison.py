"""A comparison and a sweep in a few lines, and as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtfl_private.html_table import table_html
from dtfl_private.printable import one_line
from dtfl_private.report.words.numbers import number_of

if TYPE_CHECKING:
    from dtfl_private.report.comparison.groups import Comparison


def comparison_text(comparison: "Comparison") -> str:
    """Return a comparison in up to three lines, one for each of its settings."""
    lines = []
    for setting in comparison.settings:
        accuracies = (
            f"{group.name} {group.accuracy('final_accuracy').mean:.4f} ({number_of(len(group.runs), 'run')})"
            for group in setting.groups
        )
        lines.append(f"final test accuracy{f' with {setting.name}' if setting.name else ''}: {', '.join(accuracies)}")
    more = [f"and {number_of(len(lines) - 1, 'other setting')}"] if len(lines) > 2 else lines[1:]
    return "\n".join(map(one_line, [f"Comparison: {lines[0]}", *more]))


def comparison_html(comparison: "Comparison") -> str:
    """Return a comparison as a table for a notebook for each of its settings, and what must be known of them."""
    from dtfl_private.report.tables.comparison import COLUMNS, cells, legend, title_of

    last = len(comparison.settings) - 1
    return "".join(
        table_html(
            title_of(setting),
            COLUMNS,
            [cells(group, setting) for group in setting.groups],
            legend(comparison) if number == last else (),
        )
        for number, setting in enumerate(comparison.settings)
    )


def sweep_text(folder: Path, runs: Sequence[Path], failed: Mapping[str, str], comparison: "Comparison | None") -> str:
    """Return a sweep in a few lines: how many runs there are, and how they compare."""
    line = one_line(f"Sweep '{folder}': {number_of(len(runs), 'run')} ended, {len(failed)} failed")
    return line if comparison is None else f"{line}\n{comparison_text(comparison)}"


def sweep_html(folder: Path, runs: Sequence[Path], failed: Mapping[str, str], comparison: "Comparison | None") -> str:
    """Return a sweep for a notebook: why runs failed, and how the others compare."""
    title = f"Sweep {folder}: {number_of(len(runs), 'run')} ended, {len(failed)} failed"
    whole = table_html(title, ("failed run", "why"), failed.items())
    return whole if comparison is None else whole + comparison_html(comparison)
