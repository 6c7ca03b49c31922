import ctypes
import gc
import os
import sys

import pytest

from dtfl_private.runtime.allocator import MMAP_BYTES, NEW_OBJECTS, TRIM_BYTES, collect_rarely, tune_allocator

SWITCH = "THP_MEM_ALLOC_ENABLE"


@pytest.fixture
def libc(monkeypatch):
    """Pretend to be on Linux, with a C library that only remembers what it was told."""
    told: list[tuple[int, int]] = []
    library = type("Library", (), {"mallopt": lambda _, parameter, value: told.append((parameter, value))})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(SWITCH, "")  # so that it is as it was after the test
    monkeypatch.delenv(SWITCH)
    return told


def test_freed_memory_is_kept_in_huge_pages(libc):
    tune_allocator()
    # The numbers of M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in <malloc.h>.
    assert libc == [(-1, TRIM_BYTES), (-3, MMAP_BYTES)]
    assert os.environ[SWITCH] == "1"


def test_values_fit_the_c_librarys_int():
    assert 0 < MMAP_BYTES < TRIM_BYTES < 2**31


def test_what_the_user_set_stays(libc, monkeypatch):
    monkeypatch.setenv(SWITCH, "0")
    tune_allocator()
    assert os.environ[SWITCH] == "0"
    assert libc


def test_on_other_systems_and_c_libraries_nothing_happens(libc, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    tune_allocator()
    assert libc == []

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    tune_allocator()

    def missing(_name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    tune_allocator()
    assert libc == []


@pytest.mark.parametrize(
    ("before", "after"),
    [((700, 10, 10), (NEW_OBJECTS, 10, 10)), ((50_000, 5, 7), (50_000, 5, 7)), ((0, 10, 10), (0, 10, 10))],
)
def test_garbage_is_looked_for_rarely_or_as_rarely_as_before(before, after):
    own = gc.get_threshold()
    try:
        gc.set_threshold(*before)
        collect_rarely()
        assert gc.get_threshold() == after
    finally:
        gc.set_threshold(*own)
