"""What the command line says when the user stops a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from dtfl_private.errors import DtflError


class InterruptedRunError(DtflError):
    """The user stopped a run."""


def how_to_go_on(folder: Path | None, rounds: int, options: Sequence[str]) -> str:
    """Return how far a run came and what to type to continue it.

    Args:
        folder: of the run; None if it had not begun.
        rounds: that are finished.
        options: that a resume needs besides.
    """
    if folder is None:
        return "interrupted before the run began: nothing was written"
    command = ["dtfl-private", "train", "--resume", "--out", str(folder), *options]
    return (
        f"interrupted; {rounds} finished {'round is' if rounds == 1 else 'rounds are'} safe in {folder}; "
        f"go on with: {shlex.join(command)}"
    )
