"""What a library writes past Python to the standard error is held back until it is known whether it fails."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2


@contextmanager
def errors_held_back() -> Iterator[None]:
    """Drop what this process writes to its standard error if the block raises, which then says it all; else pass it on.

    A library in Rust reports a failure there, in dozens of lines, before it raises it.
    """
    try:
        kept = os.dup(STANDARD_ERROR)
    except OSError:  # it is closed, and nobody reads what is written there
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
        held.seek(0)
        while data := held.read(2**16):
            os.write(STANDARD_ERROR, data)
