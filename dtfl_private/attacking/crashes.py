"""Crashes of plug-ins, which may be anybody's code, as one line that names them."""

from collections.abc import Iterator
from contextlib import contextmanager

from dtfl_private.errors import DtflError, RunError


@contextmanager
def crashes_named(what: str) -> Iterator[None]:
    """Turn whatever is raised inside, as by a plug-in, which may be anybody's, into one line that names it.

    Raises:
        RunError: it crashed.
    """
    try:
        yield
    except DtflError:
        raise
    except Exception as error:  # a plug-in is anybody's code and may raise anything
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{what} crashed: {why}; what was finished is kept") from error
