"""What each method leaks: a row per group of audited runs, goal by goal, with what is sent and at what accuracy."""

from collections.abc import Sequence

from rich.table import Table

from dtfl_private.leakage.metrics import AUC, IDENTIFIABILITY, SSIM
from dtfl_private.printable import printable
from dtfl_private.report.comparison.exposure import Exposure, Reached, labels_reached, reached
from dtfl_private.report.comparison.groups import Comparison, Group
from dtfl_private.report.tables.comparison import BLANK, byte_text, title_of, with_spread
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.verdicts.findings import LEVELS

COLUMNS = (
    *("method", "audited", "accuracy", "time, s", "bytes", "sent"),
    *("images: SSIM", "guess", "told apart", "members: AUC", "labels", "verdict"),
)


def method_leakage_tables(comparison: Comparison) -> list[Table]:
    """Return one table for each setting with audited runs."""
    tables = []
    for setting in comparison.settings:
        audited = [group for group in setting.groups if group.exposures]
        if not audited:
            continue
        table = plain_table(f"what each method leaks: {title_of(setting)}", *COLUMNS)
        for name in ("sent", "labels", "verdict"):
            table.columns[COLUMNS.index(name)].justify = "left"
        for group in audited:
            table.add_row(*map(as_printed, leakage_cells(group)))
        tables.append(table)
    return tables


def leakage_cells(group: Group) -> list[str]:
    """Return an audited group's row, one text for each of `COLUMNS`."""
    found = group.exposures
    ssim = reached(found, SSIM.name)
    levels = [one.level for one in found if one.level is not None]
    return [
        group.name,
        f"{len(found)} of {len(group.runs)}",
        f"{sum(one.accuracy for one in found) / len(found):.4f}",
        with_spread(group.to_target("time_s")),
        byte_text(group.to_target("bytes")),
        ", ".join(dict.fromkeys(kind for one in found for kind in one.sent)) or "nothing",
        reached_text(ssim),
        BLANK if ssim is None or ssim.guess is None else f"{ssim.guess:.2f}",
        reached_text(reached(found, IDENTIFIABILITY.name)),
        reached_text(reached(found, AUC.name)),
        labels_text(found),
        max(levels, key=LEVELS.index) if levels else BLANK,
    ]


def reached_text(found: Reached | None) -> str:
    """Return a value with its interval and its tiers, as "0.94 (0.92 to 0.95), tier 1"; a blank if it is not known."""
    if found is None:
        return BLANK
    tiers = f"tier{'s' * (len(found.tiers) > 1)} {', '.join(map(str, found.tiers))}"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}), {tiers}"


def labels_text(exposures: Sequence[Exposure]) -> str:
    """Return whether labels are sent in clear, and otherwise what attacks on them reached."""
    if any(exposure.labels_in_clear for exposure in exposures):
        return "in clear"
    found = labels_reached(exposures)
    if found is None:
        return "not sent in clear, not attacked"
    guess = "" if found.guess is None else f", guess {found.guess:.2f}"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}{guess}) by {printable(', '.join(found.attacks))}"


def method_leakage_legend(comparison: Comparison) -> list[str]:
    """Return what the columns mean, in sentences; none if no run was audited."""
    if not any(group.exposures for setting in comparison.settings for group in setting.groups):
        return []
    return [
        "What each method leaks: the strongest attack of each run's audit, at the most exposed tier that clients were "
        "in, with its 95% interval; of several runs the mean, and an interval that contains each run's.",
        "Guess: SSIM of the best guess without anything sent. Told apart: identifiability, the share of images whose "
        "reconstruction is nearest to the true one among the victims.",
        "In clear: true labels are sent. A method is not shown to be safe where attacks get little: they show leakage "
        "from below.",
    ]
