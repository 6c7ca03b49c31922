"""The closing table of a run."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dtfl_private.report.tables.judged import judged_rows
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import bytes_text, duration, si


def summary_table(summary: Mapping[str, Any], run: str) -> Table:
    """Return the closing table of a run."""
    table = plain_table("", "", "", right=False)
    table.show_header = False
    target = summary["target_accuracy"]
    table.add_row("rounds", str(summary["rounds"]))
    images = summary["judged_on"]
    table.add_row(f"final {images} accuracy", f"{summary['final_accuracy']:.4f}")
    if (perplexity := summary["last_round"].get("test_perplexity")) is not None:
        table.add_row(f"final {images} perplexity", f"{perplexity:.4g}")
    best = f"{summary['best_accuracy']:.4f} (round {summary['best_round']}; optimistic: chosen by it)"
    table.add_row(f"best {images} accuracy", best)
    if summary["chosen_on"] != images:
        table.add_row(f"best on {summary['chosen_on']}", _selected(summary))
    for name, text in judged_rows(summary):
        table.add_row(name, text)
    measured = summary.get("clock") == "wall"
    if target is not None:
        reached = summary["rounds_to_target"]
        after = f"{duration(summary['time_to_target_s'])}{'' if measured else ' simulated'}" if reached else ""
        when = f"round {reached}, after {after}" if reached else "not reached"
        table.add_row(f"target {target:g}", when)
    if (exposure := summary.get("exposure")) is not None:
        table.add_row("exposure", _exposure(exposure))
    table.add_row("time of rounds" if measured else "simulated time", duration(summary["virtual_time_s"]))
    table.add_row("wall time of rounds", duration(summary["wall_time_s"]))
    table.add_row("sent", bytes_text(summary["bytes"]))
    table.add_row("MACs", ", ".join(f"{side} {si(macs, '')}" for side, macs in summary["macs"].items()))
    table.add_row("run folder", run)
    return table


def _exposure(exposure: Mapping[str, Any]) -> str:
    """Return how much of its budget the most exposed client has spent, and who rested."""
    by_client, rested = exposure["clients"], sum(exposure["rested"].values())
    highest = max(by_client, key=by_client.get)
    return f"{exposure['highest']:.4g} of {exposure['budget']:g} (client {highest}); rests: {rested}"


def _selected(summary: Mapping[str, Any]) -> str:
    """Return what the model of the round that is best on validation images reaches on test images."""
    reached, on = summary["selected_accuracy"], summary["selected_validation_accuracy"]
    known = "" if on is None else f"; {on:.4f} there"
    return f"test accuracy {reached:.4f} (round {summary['selected_round']}{known})"
