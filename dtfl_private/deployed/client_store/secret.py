"""A client's secret: 32 bytes of the operating system, drawn once, which all its memoised draws come from."""

import os
import stat
from pathlib import Path

from dtfl_private.deployed.client_store.state import damaged
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic

SECRET = "secret"
SECRET_BYTES = 32


def draw_secret(folder: Path) -> bytes:
    """Draw the secret of a new store and leave it there, for its owner alone."""
    secret = os.urandom(SECRET_BYTES)
    write_atomic(folder / SECRET, secret, private=True)
    return secret


def read_secret(folder: Path) -> bytes | None:
    """Return the secret; None where there is none yet.

    Raises:
        InputError: it is damaged, or others can read it.
    """
    path = folder / SECRET
    try:
        mode = path.stat().st_mode
        secret = reading.read_bytes(path, most_bytes=SECRET_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(folder, SECRET, reading.reason(error)) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(
            f"'{path}' can be read by others (mode {stat.S_IMODE(mode):03o}), and whoever reads it can take this "
            "client's noise off: chmod 600 it if nobody has, or give the client a new store"
        )
    if len(secret) != SECRET_BYTES:
        raise damaged(folder, SECRET, f"{len(secret)} bytes, expected {SECRET_BYTES}")
    return secret
