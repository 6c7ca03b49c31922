"""Attacks in processes of their own find what attacks in one process find."""

import pytest

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.errors import RunError
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.jobs import processes_kept

pytestmark = pytest.mark.usefixtures("without_pictures")


class Heard(Callback):
    def __init__(self):
        self.jobs, self.done = [], []

    def job_started(self, job):
        self.jobs.append(job)

    def job_finished(self, job, *, cached=False, error=None):
        self.done.append((job, cached))


def nothing():
    """What the processes do first."""


@pytest.fixture(scope="module", autouse=True)
def the_same_two_processes():
    """Begin two processes for all tests: loading torch takes each longer than its work."""
    with processes_kept(2, nothing):
        yield


def config(**values):
    few = {"victims": 8, "aux_images": 24, "seeds": 2, "tiers": (1, 2), "threads": 1, "device": "cpu"}
    return AttackConfig.model_validate({"attacks": ("optimization:steps=2,smoothness=0.01",), **few, **values})


def test_processes_change_nothing_but_the_time(small_run, tmp_path):
    alone, heard = attack(small_run, config(), out=tmp_path / "alone"), Heard()
    several = attack(small_run, config(workers=2), out=tmp_path / "several", callbacks=[heard])
    assert alone.results == several.results
    assert sorted(heard.jobs) == sorted(label for label, _ in heard.done)
    assert len(heard.done) == 4
    assert not any(kept for _, kept in heard.done)
    again = Heard()
    attack(small_run, config(), out=tmp_path / "several", callbacks=[again])
    assert [kept for _, kept in again.done] == [True] * 4


def test_a_process_that_fails_ends_the_attack(small_run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("a file where a folder is wanted")
    with pytest.raises(RunError, match="kept"):
        attack(small_run, config(workers=2), out=tmp_path / "out")
