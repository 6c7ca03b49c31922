"""Tables of how a run does in the end: class by class, and over clients."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from dtfl_private.printable import short_name
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.judged import reported

# With more classes the worst ones are shown.
MOST_ROWS = 20
WORST_SHOWN = 10
BLANK = "-"


def class_table(summary: Mapping[str, Any]) -> Table:
    """Return a row per class: its records, precision, recall, F1 and ROC-AUC; of many classes those of least F1."""
    model = reported(summary)
    title = f"{summary['judged_on']} records by class, model of round {model.round}"
    table = plain_table(title, "class", "records", "precision", "recall", "F1", "ROC-AUC")
    rows = list(model.test["per_class"])
    if len(rows) > MOST_ROWS:
        there = [row for row in rows if row["support"]]
        rows = sorted(there, key=lambda row: row["f1"])[:WORST_SHOWN]
        table.caption = f"the {len(rows)} of {len(model.test['per_class'])} classes with the least F1"
        table.caption_justify = "left"
    for row in rows:
        figures = (row[which] for which in ("precision", "recall", "f1", "roc_auc"))
        table.add_row(Text(short_name(row["class"])), f"{row['support']:,}", *map(_number, figures))
    return table


def judged_rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines of the closing table that are about classes, calibration and clients, of the reported model."""
    if "test" not in summary:
        return
    model = reported(summary)
    test, clients = model.test, model.clients
    yield (
        "over classes",
        f"balanced accuracy {_number(test['balanced_accuracy'])}, F1 {_number(test['macro_f1'])}, "
        f"ROC-AUC {_number(test['macro_roc_auc'])} (round {model.round})",
    )
    yield "calibration", f"expected error {_number(test['ece'])}, Brier score {_number(test['brier'])}"
    if clients is not None and clients["n"]:
        yield (
            "over clients",
            f"worst {_number(clients['worst'])} (client {clients['worst_client']}), 10th percentile "
            f"{_number(clients['tenth_percentile'])}, spread {_number(clients['std'])}",
        )


def _number(value: float | None) -> str:
    return BLANK if value is None else f"{value:.3f}"
