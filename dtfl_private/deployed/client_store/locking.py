"""A client's store belongs to one process at a time."""

import os
from pathlib import Path

from dtfl_private.errors import InputError


def lock_folder(folder: Path) -> int:
    """Hold a folder for this process; return the descriptor that holds it: closing it, or any death, lets go.

    Raises:
        InputError: another process holds it, or the system has no such locks.
    """
    try:
        import fcntl  # POSIX only
    except ImportError:
        raise InputError(f"client store '{folder}' cannot be locked: this system has no file locks (POSIX)") from None
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise InputError(
                f"client store '{folder}' is in use by another process: end it, or give this client a store of its own"
            ) from None
        raise InputError(f"client store '{folder}' cannot be locked: {error.strerror}") from None
    return descriptor
