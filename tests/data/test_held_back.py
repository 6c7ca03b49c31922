import os

import pytest

from dtfl_private.data.held_back import errors_held_back


def written(text):
    os.write(2, text)  # as a library does, past Python


def test_what_is_written_before_a_failure_is_dropped_and_all_else_passed_on(capfd):
    def fails():
        with errors_held_back():
            written(b"panicked\n")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        fails()
    written(b"between\n")
    with errors_held_back():
        written(b"a warning\n" * 9000)
        assert capfd.readouterr().err == "between\n"
    written(b"after\n")
    assert capfd.readouterr().err == "a warning\n" * 9000 + "after\n"


def test_a_closed_standard_error_stays_closed(capfd):
    with capfd.disabled():
        kept = os.dup(2)
        os.close(2)
        try:
            with errors_held_back():
                pass
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(2)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
