import copy
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch

from dtfl_private import record as run_records
from dtfl_private.commands import train as training
from dtfl_private.commands.train import Silent, prepare, read_run_config, train
from dtfl_private.config import TrainConfig
from dtfl_private.errors import CheckpointError, InputError, NonFiniteLossError, RunError
from dtfl_private.messages import Transcript
from dtfl_private.record import RunFolder, locked
from dtfl_private.runtime import checkpoint

# Everything that a round hands to the next is at work: measurements, drift, coming and going, a decaying rate.
EVENTFUL = {
    **{"clients": 5, "rounds": 4, "fraction": 0.7, "scheduler": "dynamic", "partition": "dirichlet:1"},
    **{"drift_share": 0.4, "drift_every": 2, "noise": 0.3, "dropout": 0.2, "absent": 0.2, "leave": 0.2, "join": 0.5},
    **{"augment": ["crop", "flip"], "lr": 0.05, "lr_patience": 1, "optimizer": "adam", "local_epochs": 2},
}


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than all else here; the report's tests draw."""
    monkeypatch.setattr(training, "plot_training", lambda records, path, *, title: path.write_text(title))


@pytest.fixture
def run_tiny(tiny_config, patterns, tiny_network):
    """Train the tiny network on the patterns: ``run_tiny(out, resume=..., listener=..., **settings)``."""

    def run(out: Path | None, *, resume: bool = False, listener: Any = None, objects: Any = None, **values: Any):
        given = {"dataset": patterns, "model": copy.deepcopy(tiny_network), **(objects or {})}
        return train(tiny_config(**values), out=out, resume=resume, listener=listener, **given)

    return run


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


class Notes(Silent):
    """A listener that keeps what it hears, and stops the run at a moment: ``Notes(("trained", 2))``."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        self.heard: list[str] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def _hear(self, event: str) -> None:
        self.heard.append(event)
        if self._stop_at == (event, self.heard.count(event)):
            raise KeyboardInterrupt

    def started(self, config, folder, table, records) -> None:  # noqa: ARG002
        self._hear("started")

    def planned(self, plan) -> None:  # noqa: ARG002
        self._hear("planned")

    def trained(self, client) -> None:  # noqa: ARG002
        self._hear("trained")

    def finished(self, record) -> None:  # noqa: ARG002
        self._hear("finished")

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def uninterrupted(tiny_config, patterns, tmp_path_factory):
    """What the eventful run leaves when nothing happens to it."""
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "plot_training", lambda *_args, **_settings: None)
    train(tiny_config(**EVENTFUL), out=path, dataset=patterns, model=patterns_network())
    patch.undo()
    return left_behind(path)
