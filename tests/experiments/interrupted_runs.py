"""Runs of the tiny network in which much happens, what they leave, and how they are stopped."""

import json
from pathlib import Path
from typing import Any

from dtfl_private.runtime.callback import Callback

# What a round hands to the next is at work: measurements, drift, coming and going.
ENVIRONMENT = {"drift_share": 0.4, "drift_every": 2, "noise": 0.3, "dropout": 0.2}

PRESENCE = {"absent": 0.2, "leave": 0.2, "join": 0.5, "fraction": 0.7}

TRAINING = {"augment": ["crop", "flip"], "lr_patience": 1, "partition": "dirichlet:1"}

EVENTFUL = {"seed": 4, "clients": 5, "rounds": 4, "scheduler": "dynamic", **ENVIRONMENT, **PRESENCE, **TRAINING}


def left_behind(path: Path) -> dict[str, Any]:
    """Return what a run leaves that must be the same on every host: everything but wall times and the environment."""
    lines = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
    summary = json.loads((path / "summary.json").read_text())
    for figures in (*lines, summary, summary["last_round"]):
        del figures["wall_time_s"]
    files = [file for file in path.rglob("*") if file.suffix in (".safetensors", ".toml", ".json", ".tmp")]
    return {
        "rounds": lines,
        "summary": summary,
        **{
            str(file.relative_to(path)): file.read_bytes()
            for file in files
            if file.name not in ("summary.json", "environment.json")
        },
    }


class Notes(Callback):
    """A callback that keeps what it hears, and stops the run at a moment: ``Notes(("trained", 2))``."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        self.heard: list[str] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def _hear(self, event: str) -> None:
        self.heard.append(event)
        if self._stop_at == (event, self.heard.count(event)):
            raise KeyboardInterrupt

    def run_started(self, folder, rounds, records, describe) -> None:
        self._hear("started")

    def round_planned(self, plan) -> None:
        self._hear("planned")

    def client_trained(self, client) -> None:
        self._hear("trained")

    def round_finished(self, record) -> None:
        self._hear("finished")

    def note(self, text: str) -> None:
        self.notes.append(text)
