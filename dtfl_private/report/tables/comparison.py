"""The table of a comparison: in the terminal, as Markdown, as LaTeX."""

import math

from rich.table import Table

from dtfl_private.leakage.metrics import SSIM
from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting, Group
from dtfl_private.report.comparison.means import CONFIDENCE, Mean
from dtfl_private.report.comparison.speedups import Speedup, speedup
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.report.words.numbers import si

COLUMNS = (
    *("method", "runs", "final accuracy", "best", "reached", "rounds", "time, s", "speed-up"),
    *("bytes", "MACs", "idle, s", "idle", "regret", SSIM.label),
)

# How a setting's name says that settings differ in their targets.
TARGET_IN_NAME = "target accuracy"

# Half an interval that is a smaller part of its mean than this stems from adding up in floating point.
ROUNDING = 1e-9

# Shown where nothing is known or meant.
BLANK = "-"


def terminal_tables(comparison: Comparison) -> list[Table]:
    """Return one table for each setting."""
    return [_table(setting) for setting in comparison.settings]


def _table(setting: ComparisonSetting) -> Table:
    table = plain_table(title_of(setting), *COLUMNS)
    for group in setting.groups:
        style = "bold" if group is setting.baseline else None
        table.add_row(*map(as_printed, cells(group, setting)), style=style)
    return table


def title_of(setting: ComparisonSetting) -> str:
    """Return what the figures are of, in one line."""
    target = "no target accuracy" if setting.target is None else f"target accuracy {setting.target:g}"
    said = () if TARGET_IN_NAME in setting.name else (target,)
    return printable("; ".join(part for part in (setting.about, setting.name, *said) if part))


def legend(comparison: Comparison) -> list[str]:
    """Return what the columns mean, and what must be known of these runs, in sentences."""
    baselines = {setting.baseline.name for setting in comparison.settings if setting.baseline is not None}
    against = f" against {' or '.join(sorted(baselines))}" if baselines else ""
    return [
        f"Mean ± half the {CONFIDENCE:.0%} interval (Student's t) over the runs, which differ by seed.",
        "Best: the highest accuracy of any round, on the images that it was chosen by: an optimistic figure.",
        "Rounds, simulated seconds, bytes and MACs up to the target; > is a lower bound: some runs never reached it.",
        f"Speed-up{against} in simulated time to the target, in brackets its range over equal seeds.",
        "Idle: seconds that a client waited for the slowest one, over the whole run; and as a share of its time.",
        "Regret: how much longer the rounds lasted than with the tiers of a scheduler that knows the true times.",
        *_of_leakage(comparison),
        *(printable(note if note.startswith("WARNING") else f"Note: {note}") + "." for note in comparison.notes),
    ]


def _of_leakage(comparison: Comparison) -> list[str]:
    if not any(group.leakages for setting in comparison.settings for group in setting.groups):
        return []
    return [f"{SSIM.label}: of what the strongest attack rebuilt, from the least to the most exposed tier, by audits."]


def cells(group: Group, setting: ComparisonSetting) -> list[str]:
    """Return a group's row, one text for each of `COLUMNS`."""
    runs = len(group.runs)
    no_target = setting.target is None
    return [
        group.name,
        str(runs),
        with_spread(group.accuracy("final_accuracy"), decimals=4),
        f"{group.accuracy('best_accuracy').mean:.4f}",
        BLANK if no_target else f"{group.reached} of {runs}",
        with_spread(group.to_target("rounds")),
        with_spread(group.to_target("time_s")),
        speedup_text(speedup(group, setting.baseline)),
        byte_text(group.to_target("bytes"), "B"),
        byte_text(group.to_target("macs"), ""),
        _number(sum(run.idle_s_per_client for run in group.runs) / runs),
        f"{sum(run.idle_share for run in group.runs) / runs:.0%}",
        BLANK if group.regret.mean is None else f"{group.regret.mean:.1%}",
        leakage_text(group),
    ]


def leakage_text(group: Group) -> str:
    """Return the range over all tiers of what the strongest attacks reached, and how many runs were audited."""
    found = group.leakages
    if not found:
        return BLANK
    low, high = min(leakage.low for leakage in found), max(leakage.high for leakage in found)
    text = f"{low:.2f}-{high:.2f}" if low < high else f"{high:.2f}"
    return text if len(found) == len(group.runs) else f"{text} ({len(found)} of {len(group.runs)})"


def speedup_text(found: Speedup) -> str:
    """Return a speed-up with its range, or its bound, or a blank."""
    if found.value is not None:
        spread = f" ({found.low:.3g}-{found.high:.3g})" if found.low is not None and found.low != found.high else ""
        return f"{found.value:.3g}x{spread}"
    if found.at_least is not None:
        return f"> {found.at_least:.3g}x"
    return f"< {found.at_most:.3g}x" if found.at_most is not None else BLANK


def with_spread(mean: Mean, decimals: int | None = None) -> str:
    """Return a mean with half its interval, in two digits of the latter unless told otherwise; or its bound."""
    if mean.mean is None:
        return BLANK if mean.at_least is None else f"> {_number(mean.at_least)}"
    half = mean.half_width
    if half is not None and half < ROUNDING * abs(mean.mean):
        half = 0.0
    if decimals is None and half:
        decimals = max(0, 1 - math.floor(math.log10(half)))
    if decimals is None or half is None:
        text = _number(mean.mean) if decimals is None else f"{mean.mean:.{decimals}f}"
        return text if half is None else f"{text} ± 0"
    return f"{mean.mean:.{decimals}f} ± {half:.{decimals}f}"


def _number(value: float) -> str:
    """Return three significant digits, and all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def byte_text(mean: Mean, unit: str = "B") -> str:
    """Return a mean number of bytes, or of something else, with a decimal prefix; or its bound."""
    if mean.mean is None:
        return BLANK if mean.at_least is None else f"> {si(mean.at_least, unit)}".rstrip()
    return si(mean.mean, unit).rstrip()
