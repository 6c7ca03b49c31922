"""What tests of commands share: a small run, an answer, and comparisons of folders."""

import json
from pathlib import Path
from typing import NamedTuple

SMALL = [
    *("--dataset", "digits:size=8", "--max-train-images", "40", "--clients", "4", "--rounds", "2"),
    *("--batch-size", "8", "--workers", "1"),
]


class Answer(NamedTuple):
    """What a command line gave back."""

    status: int
    out: str
    err: str


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_run(one: Path, other: Path) -> bool:
    """Whether two runs left the same weights and, wall times aside, the same rounds."""
    lines = [[json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()] for run in (one, other)]
    for line in [*lines[0], *lines[1]]:
        del line["wall_time_s"]
    models = [(run / "model.safetensors").read_bytes() for run in (one, other)]
    return lines[0] == lines[1] and models[0] == models[1]
