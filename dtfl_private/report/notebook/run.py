"""A run in a few lines, and as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dtfl_private.html_table import table_html
from dtfl_private.printable import one_line
from dtfl_private.report.words.numbers import bytes_text, duration


class Settings(Protocol):
    """What is said of a run's configuration."""

    @property
    def method(self) -> str:
        """The training method."""

    @property
    def model(self) -> str:
        """The network."""

    @property
    def dataset(self) -> str:
        """The data set."""

    @property
    def rounds(self) -> int:
        """Rounds in all."""


def run_text(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run in two lines: what it came to, and what may be said of privacy."""
    facts = dict(_facts(config, summary))
    lines = [
        f"Run '{folder}': {facts['trained']}; {facts['rounds']}; test accuracy {facts['test accuracy']}; "
        f"{facts['simulated time']} simulated",
        f"privacy: {_privacy(summary)}",
    ]
    return "\n".join(map(one_line, lines))


def run_html(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run as a table for a notebook."""
    sent = ("sent", bytes_text(summary["bytes"]))
    return table_html(f"Run {folder}", (), [*_facts(config, summary), sent, ("privacy", _privacy(summary))])


def _facts(config: Settings, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    early = "" if summary["stopped"] is None else f", ended early: {summary['stopped']}"
    best = f"{summary['best_accuracy']:.4f} in round {summary['best_round']}"
    return [
        ("trained", f"{config.method}, {config.model}, {config.dataset}"),
        ("rounds", f"{summary['rounds']} of {config.rounds} rounds{early}"),
        ("test accuracy", f"{summary['final_accuracy']:.4f} (best {best})"),
        ("simulated time", duration(summary["virtual_time_s"])),
    ]


def _privacy(summary: Mapping[str, Any]) -> str:
    return "; ".join(dict.fromkeys(entry["sentence"] for entry in summary["privacy"]))
