"""Count the frames of ours between the command line and the first tensor operation of a training and of an attack.

    python -m benchmarks.frames

Frames are counted at the first operation of a client's network in a round, and at the first operation within an
attack. Ours are those of the package and its plug-ins; click's, torch's and the standard library's are not.
"""

import contextlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import click
from torch.utils._python_dispatch import TorchDispatchMode

import dtfl_private
from dtfl_private.cli.main import main as dtfl

PACKAGE = Path(dtfl_private.__path__[0]).resolve()
OURS = tuple(str(PACKAGE.parent / name) + os.sep for name in ("dtfl_private", "attacks", "defenses"))

TRAIN = (
    *("train", "--dataset", "digits:size=8", "--max-train-images", "60", "--clients", "2", "--rounds", "1"),
    *("--batch-size", "16", "--workers", "1", "--device", "cpu", "--out", "run"),
)
ATTACKS = ("hybrid:decoder_steps=1,steps=1", "optimization:steps=1")


def attack_with(attack: str) -> list[str]:
    """Return the command that attacks the run that `TRAIN` leaves."""
    size = ("--tier", "1", "--victims", "1", "--seeds", "1", "--aux-images", "12")
    return ["attack", "run", "--attack", attack, *size, "--device", "cpu"]


class _FirstOperation(TorchDispatchMode):
    """Keep our frames at the first operation that is wanted, outermost first, as ``file:line function``."""

    def __init__(self, wanted: Callable[[Sequence[str]], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch has no types for it
        self.frames: list[str] = []
        self._wanted = wanted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.frames and self._wanted(names := our_frames(inspect.currentframe())):
            self.frames = names
        return func(*args, **(kwargs or {}))


def our_frames(frame: FrameType | None) -> list[str]:
    """Return the frames of the package and its plug-ins from ``main`` to a frame, outermost first."""
    found = []
    while frame is not None:
        if (file := _ours(frame.f_code.co_filename)) is not None:
            found.append(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return found[::-1]


@cache
def _ours(file: str) -> str | None:
    """Return a file's path in the repository if it is the package's or a plug-in's, else None."""
    path = os.path.realpath(file)
    return str(Path(path).relative_to(PACKAGE.parent)) if path.startswith(OURS) else None


def in_training(frames: Sequence[str]) -> bool:
    """Whether a client's forward pass in a round is among the frames; the one batch tried before the run is not."""
    trains = any(frame.startswith("dtfl_private/training/round.py:") for frame in frames)
    return trains and any(frame.endswith(" forward") for frame in frames)


def in_attack(frames: Sequence[str]) -> bool:
    """Whether an attack's own code is among the frames."""
    return any(frame.startswith("attacks/") and not frame.endswith(" __init__") for frame in frames)


def frames_of(arguments: Sequence[str], wanted: Callable[[Sequence[str]], bool]) -> list[str]:
    """Run a command in the current folder and return our frames at its first operation that is wanted."""
    first = _FirstOperation(wanted)
    with first, contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
        dtfl(arguments)
    return first.frames


@click.command()
def main() -> None:
    """Print the frames of both commands."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for arguments, wanted in ((TRAIN, in_training), *((attack_with(attack), in_attack) for attack in ATTACKS)):
            frames = frames_of(arguments, wanted)
            click.echo(f"{' '.join(arguments[:4])}: {len(frames)} frames")
            for frame in frames:
                click.echo(f"  {frame}")


if __name__ == "__main__":
    main()
