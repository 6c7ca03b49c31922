"""Runs and presets of another party, which name code to run, and every command that reads such a file."""

import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from dtfl_private.cli.main import main
from dtfl_private.experiments.config.toml_files import read_run_config, to_toml
from dtfl_private.experiments.run_folder.folder import RunFolder

SMALL = [
    *("--dataset", "digits:size=8", "--max-train-images", "40", "--clients", "2", "--rounds", "1"),
    *("--batch-size", "8", "--workers", "1"),
]

# It leaves a mark as soon as it is imported; its function is of every kind, as far as its annotation goes.
EVIL = """
from pathlib import Path
Path("marker").write_text("imported")

def thing(cmd: str = ""):
    Path("marker").write_text("called")
"""

OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar
from dtfl_private import Defense, DefenseFacts

@dataclass(frozen=True)
class Rounding(Defense):
    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="detail", acts_on=("smashed",))
    step: float = 0.5

    def protect_batch(self, message, at):
        return replace(message, smashed=(message.smashed / self.step).round() * self.step)
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: object
    out: str
    err: str


def dtfl(*arguments: object) -> Answer:
    """Run a command in the current folder."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return Answer(status=left.value.code, out=out.getvalue(), err=err.getvalue())


def foreign_run(here: Path, kind: str, text: str) -> Path:
    """Make the folder of a run whose configuration names ``text``, with the files of a good one."""
    run = here / f"foreign-{kind}"
    run.mkdir(exist_ok=True)
    for file in ("rounds.jsonl", "environment.json"):
        (run / file).write_bytes((here / "good" / file).read_bytes())
    config = read_run_config(RunFolder(path=here / "good"))
    value = [text] if kind == "defense" else text
    (run / "config.toml").write_text(to_toml(config.model_copy(update={kind: value})))
    return run


def preset(here: Path, kind: str, text: str, table: str) -> Path:
    """Make a preset of which one table names ``text``."""
    tables = {name: {"max_train_images": 40} if name == "sizes.small" else {} for name in ("config", "sizes.small")}
    tables["grid"] = {"rounds": [1]}
    tables[table] = {**tables[table], kind: [[text]] if (kind, table) == ("defense", "grid") else text}
    lines = ['title = "theirs"', "seeds = [0]"]
    for name, values in tables.items():
        lines.append(f"[[{name}]]" if name == "grid" else f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = here / "theirs.toml"
    path.write_text("\n".join(lines))
    return path


Door = Callable[[Path, str, str], list[str]]

# Every command that reads a file which may name a plug-in, and how the file gets there.
DOORS: Mapping[str, Door] = {
    "train CONFIG": lambda here, kind, text: [
        *("train", str(foreign_run(here, kind, text) / "config.toml"), "--out", "new"),
    ],
    "train --resume": lambda here, kind, text: ["train", "--resume", "--out", str(foreign_run(here, kind, text))],
    "train --resume CONFIG": lambda here, kind, text: [
        *("train", str(foreign_run(here, kind, text) / "config.toml"), "--resume", "--out", "new"),
    ],
    "attack": lambda here, kind, text: ["attack", str(foreign_run(here, kind, text))],
    "attack --workers": lambda here, kind, text: ["attack", str(foreign_run(here, kind, text)), "--workers", "2"],
    "audit": lambda here, kind, text: ["audit", str(foreign_run(here, kind, text))],
    "audit --preset": lambda here, kind, text: ["audit", str(foreign_run(here, kind, text)), "--preset", "thorough"],
    "sweep [config]": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "config"))],
    "sweep [[grid]]": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "grid"))],
    "sweep --dry-run": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "config")), "--dry-run"],
}


def mark(here: Path) -> str | None:
    return (here / "marker").read_text() if (here / "marker").exists() else None
