"""A run in a few lines, and as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, FiniteFloat, ValidationError

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


class _Sentence(BaseModel):
    sentence: str


class _Figures(BaseModel):
    """What is said of a summary; what earlier versions did not write yet need not be there."""

    rounds: int
    stopped: str | None = None
    final_accuracy: FiniteFloat
    best_accuracy: FiniteFloat
    best_round: int
    chosen_on: str | None = None
    selected_round: int = 0
    selected_accuracy: FiniteFloat = 0.0
    virtual_time_s: FiniteFloat
    bytes: dict[str, int]
    privacy: tuple[_Sentence, ...] = ()


def run_text(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run in two lines: what it came to, and what may be said of privacy."""
    (_, trained), (_, rounds), *figures = _facts(config, summary)
    facts = [trained, rounds, *(f"{name} {figure}" for name, figure in figures)]
    found = _figures(summary)
    lines = [f"Run '{folder}': {'; '.join(facts)}", f"privacy: {_privacy(found)}" if found else ""]
    return "\n".join(one_line(line) for line in lines if line)


def run_html(folder: Path, config: Settings, summary: Mapping[str, Any]) -> str:
    """Return a run as a table for a notebook."""
    rows = _facts(config, summary)
    found = _figures(summary)
    if found:
        rows += [("sent", bytes_text(found.bytes)), ("privacy", _privacy(found))]
    return table_html(f"Run {folder}", (), rows)


def _figures(summary: Mapping[str, Any]) -> _Figures | None:
    """Return what there is to say of a summary, which may come from anybody; None if that is nothing."""
    try:
        return _Figures.model_validate(summary)
    except ValidationError:
        return None


def _facts(config: Settings, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    trained = [("trained", f"{config.method}, {config.model}, {config.dataset}")]
    found = _figures(summary)
    if found is None:
        begun = "final_accuracy" in summary
        return [*trained, ("rounds", "summary.json is damaged" if begun else f"0 of {config.rounds} rounds")]
    early = "" if found.stopped is None else f", ended early: {found.stopped}"
    return [
        *trained,
        ("rounds", f"{found.rounds} of {config.rounds} rounds{early}"),
        (f"{config.judged_on} accuracy", f"{found.final_accuracy:.4f} (best {_best(found)})"),
        *_selected(config, found),
        ("simulated time", duration(found.virtual_time_s)),
    ]


def _best(found: _Figures) -> str:
    """Return the accuracy of the best round: of many rounds one is the best by luck, too, and this says so."""
    return f"{found.best_accuracy:.4f} in round {found.best_round}, chosen by it"


def _selected(config: Settings, found: _Figures) -> list[tuple[str, str]]:
    """Return what the round that is best on other images than these reaches on these, if other images chose one."""
    if found.chosen_on in (None, config.judged_on):
        return []
    name = f"{config.judged_on} accuracy of the round that is best on {found.chosen_on}"
    return [(name, f"{found.selected_accuracy:.4f} (round {found.selected_round})")]


def _privacy(found: _Figures) -> str:
    return "; ".join(dict.fromkeys(entry.sentence for entry in found.privacy)) or "nothing is known of it"
