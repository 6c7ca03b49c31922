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
    def judged_on(self) -> str:
        """The images of every accuracy: test or validation."""

    @property
    def rounds(self) -> int:
        """Rounds in all."""


def run_text(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run in two lines: what it came to, and what may be said of privacy."""
    (_, trained), (_, rounds), *figures = _facts(config, summary)
    facts = [trained, rounds, *(f"{name} {figure}" for name, figure in figures)]
    lines = [f"Run '{folder}': {'; '.join(facts)}", f"privacy: {_privacy(summary)}" if figures else ""]
    return "\n".join(one_line(line) for line in lines if line)


def run_html(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run as a table for a notebook."""
    rows = _facts(config, summary)
    if "final_accuracy" in summary:
        rows += [("sent", bytes_text(summary["bytes"])), ("privacy", _privacy(summary))]
    return table_html(f"Run {folder}", (), rows)


def _facts(config: Settings, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    trained = [("trained", f"{config.method}, {config.model}, {config.dataset}")]
    if "final_accuracy" not in summary:  # of a run that has not finished a round
        return [*trained, ("rounds", f"0 of {config.rounds} rounds")]
    early = "" if summary["stopped"] is None else f", ended early: {summary['stopped']}"
    # Of many rounds one is the best by luck, too: what chose it is said with it.
    best = f"{summary['best_accuracy']:.4f} in round {summary['best_round']}, chosen by it"
    return [
        *trained,
        ("rounds", f"{summary['rounds']} of {config.rounds} rounds{early}"),
        (f"{config.judged_on} accuracy", f"{summary['final_accuracy']:.4f} (best {best})"),
        *_selected(config, summary),
        ("simulated time", duration(summary["virtual_time_s"])),
    ]


def _selected(config: Settings, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the round that is best on other images than these reaches on these, if other images chose one."""
    chosen_on = summary.get("chosen_on", config.judged_on)  # runs of earlier versions chose none
    if chosen_on == config.judged_on:
        return []
    name = f"{config.judged_on} accuracy of the round that is best on {chosen_on}"
    return [(name, f"{summary['selected_accuracy']:.4f} (round {summary['selected_round']})")]


def _privacy(summary: Mapping[str, Any]) -> str:
    return "; ".join(dict.fromkeys(entry["sentence"] for entry in summary["privacy"]))
