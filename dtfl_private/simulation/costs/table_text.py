"""A cost table in a few lines, and as a table of a notebook."""

from typing import TYPE_CHECKING

from dtfl_private.html_table import table_html
from dtfl_private.printable import one_line

if TYPE_CHECKING:
    from dtfl_private.simulation.costs.table import TierTable

COLUMNS = {
    "client parameters": "client_params",
    "client MACs": "client_train_macs",
    "server MACs": "server_train_macs",
    "smashed bytes": "smashed_bytes",
    "weight bytes": "weight_bytes",
}
"""What a table shows of each tier, by its heading."""


def table_text(table: "TierTable") -> str:
    """Return a cost table in two lines: what it is of, and how the tiers' costs range."""
    ranges = [f"{name} {_range(table.column(field).tolist())}" for name, field in COLUMNS.items()]
    lines = (f"TierTable{_of(table)}: {_tiers(table)}", f"per input, from tier to tier: {', '.join(ranges)}")
    return "\n".join(map(one_line, lines))


def costs_html(table: "TierTable") -> str:
    """Return a cost table for a notebook."""
    measured = any(row.client_step_s is not None for row in table.rows)
    rows = [
        [
            row.tier,
            "x".join(map(str, row.cut_shape)),
            *(f"{getattr(row, field):,}" for field in COLUMNS.values()),
            *((_milliseconds(row.client_step_s), _milliseconds(row.server_step_s)) if measured else ()),
        ]
        for row in table.rows
    ]
    steps = ("client step, ms", "server step, ms") if measured else ()
    notes = ["MACs are of a training step, forward and backward; all per input, but weight bytes per transfer"]
    return table_html(f"Costs{_of(table)}: {_tiers(table)}", ("tier", "cut", *COLUMNS, *steps), rows, notes)


def _of(table: "TierTable") -> str:
    return f" of {table.about}" if table.about else ""


def _tiers(table: "TierTable") -> str:
    return f"{len(table.rows)} tiers, {table.modules} modules, {table.forward_macs:,} forward MACs per input"


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{values[0]:,.0f} to {values[-1]:,.0f}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g}"
