"""Errors that a user may meet, in one tree.

DtflError
├── InputError            the user's input is wrong: exit status 2, nothing was written
├── GateCrossedError      a gate given with --fail-if was crossed: exit status 3, everything was written
└── RunError              the run itself failed: exit status 1, what is on disk can be resumed
    ├── NonFiniteLossError    a client's or its server half's loss became NaN or infinite
    ├── CheckpointError       no intact checkpoint is left to resume from
    ├── CallbackError         a callback, which is the user's own code, raised something
    └── WorkerError           a worker process ended without a result

Every message is one line: what is wrong, which value, what was expected, what to do. It may hold names and values from
files of unknown origin: what would steer a terminal is spelled out in it, and what is long is cut.
"""

import difflib
from collections.abc import Iterable
from functools import lru_cache

from dtfl_private.printable import one_line


class DtflError(Exception):
    """Base of all errors raised on purpose; its text is one line for the user."""

    exit_status = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class InputError(DtflError):
    """Wrong input of the user: an option, a file, a name or a value."""

    exit_status = 2


class GateCrossedError(DtflError):
    """Gates that did not hold; ``lines`` says so of each, one line for each result that crosses."""

    exit_status = 3

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(map(one_line, lines))
        super().__init__("; ".join(self.lines))


class RunError(DtflError):
    """A run that could not go on."""


class NonFiniteLossError(RunError):
    """A training loss became NaN or infinite."""


class CheckpointError(RunError):
    """A checkpoint is damaged or does not fit the run."""


class CallbackError(RunError):
    """A callback failed."""


class WorkerError(RunError):
    """A worker process died."""


@lru_cache(maxsize=4096)  # each value of a configuration is compared with the names of all plug-ins of its kind
def comparable(name: str) -> str:
    """Reduce a name to what two spellings of it share: ``Fashion_MNIST`` and ``fashion-mnist`` agree."""
    return name.casefold().replace("-", "").replace("_", "")


def unknown_name(kind: str, value: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not among ``known``, with the nearest known one."""
    names = sorted(known)
    near = nearest_name(value, names)
    hint = "" if near is None else f"did you mean '{near}'? "
    between = "; " if any("," in name for name in names) else ", "
    return InputError(f"unknown {kind} '{shortened(value)}': {hint}known: {between.join(names) or 'none'}")


def nearest_name(value: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
    """Return the known name that is spelled most like ``value``, or None if none is so much like it (0..1)."""
    by_key = {comparable(name): name for name in known}
    near = difflib.get_close_matches(comparable(value), by_key, n=1, cutoff=likeness)
    return by_key[near[0]] if near else None


def shortened(value: object, length: int = 120) -> str:
    """Return a value's text for an error message, cut where it is longer than ``length`` characters."""
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}... ({len(text):,} characters)"
