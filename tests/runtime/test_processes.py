import errno
import resource
import signal

import pytest

from dtfl_private.runtime.processes import how_it_ended, raise_open_files_limit, why_refused


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = 128, before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        raise_open_files_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 65_536) if hard > 0 else 65_536, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"),
            "do not fit into shared memory .*enlarge /dev/shm .in a container --shm-size., or use --workers 1$",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "do not fit into shared memory .*enlarge /dev/shm"),
        (
            RuntimeError(
                "unable to open shared memory object </torch_1_2_3> in read-write mode: Too many open files (24)"
            ),
            r"too many open files .*ulimit -n.*fewer --workers",
        ),
        (OSError(errno.EMFILE, "Too many open files"), r"too many open files .*ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory .*fewer --workers"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), r"too many processes .*ulimit -u"),
        (RuntimeError("An attempt has been made ... has finished its\n bootstrapping phase."), "under `if __name__ =="),
        (RuntimeError("can't start new thread"), "^can't start new thread: use --workers 1$"),
    ],
)
def test_a_refusal_of_the_system_comes_with_its_own_remedy(error, said):
    with pytest.raises(RuntimeError, match=said):
        raise RuntimeError(why_refused(error))


def test_how_a_process_ended_tells_what_is_known_from_what_is_guessed():
    assert how_it_ended(-signal.SIGSEGV) == "it was ended by signal SIGSEGV; a guess: a fault in a native library"
    assert how_it_ended(-63) == "it was ended by signal 63"
    assert how_it_ended(3) == "it ended with exit status 3; an error of its own is shown above, if it had one"
    assert how_it_ended(None) == "how it ended is not known"
