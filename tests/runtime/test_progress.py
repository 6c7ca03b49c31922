from pathlib import Path

import pytest

from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import AsOneJob, Relabelled, Relay, for_purpose, relayed, within


class Heard(Callback):
    """Keeps what it hears of jobs."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def note(self, text) -> None:
        self.events.append(("note", text))

    def jobs_expected(self, count) -> None:
        self.events.append(("expected", count))

    def jobs_announced(self, jobs, steps=()) -> None:
        self.events.append(("announced", jobs, steps))

    def job_started(self, job) -> None:
        self.events.append(("started", job))

    def ended(self, error) -> None:
        self.events.append(("ended", error))

    def job_advanced(self, job, done, total, reached="") -> None:
        self.events.append(("advanced", job, done, total, reached))

    def job_finished(self, job, *, cached=False, error=None) -> None:
        self.events.append(("finished", job, cached, error))


def play(progress: Callback) -> None:
    progress.note("a line")
    progress.job_started("decoder")
    progress.job_advanced("decoder", 1, 3, "ssim 0.5")
    progress.job_finished("decoder", cached=True)
    progress.job_finished("hybrid", error="it went wrong")


def test_what_a_relay_reports_is_heard_on_the_other_side():
    there, here = Heard(), Heard()
    play(here)
    play(Relay(lambda event: relayed(event, there)))
    assert there.events == here.events
    with pytest.raises(ValueError, match="no event of a relay"):
        relayed(("__class__", ()), there)


def test_jobs_for_a_purpose_say_so_and_all_else_is_passed_on():
    heard, plain = Heard(), Heard()
    play(for_purpose(heard, "as scheduled"))
    play(plain)
    assert heard.events == [
        event if event[0] == "note" else (event[0], f"{event[1]}, as scheduled", *event[2:]) for event in plain.events
    ]
    assert for_purpose(heard, "") is heard


def test_jobs_of_which_somebody_has_told_are_not_told_of_again():
    heard = Heard()
    quiet = Relabelled(heard, lambda job: None if job == "decoder" else job)
    quiet.jobs_announced(["decoder", "hybrid"], [3, 5])
    play(quiet)
    assert heard.events == [
        ("announced", ["hybrid"], [5]),
        ("note", "a line"),
        ("finished", "hybrid", False, "it went wrong"),
    ]


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_training_is_one_job_and_cached_if_no_round_was_left(rounds):
    heard = Heard()
    with AsOneJob(heard, "training") as job:
        job.run_started(Path("run"), 2, [{"round": 1, "test_accuracy": 0.25}], list)
        for number in range(2, 2 + rounds):
            job.round_finished({"round": number, "test_accuracy": 0.5})
    later = [("advanced", "training", 2, 2, "accuracy 0.5000")] * rounds
    assert heard.events == [
        ("started", "training"),
        ("advanced", "training", 1, 2, "accuracy 0.2500"),
        *later,
        ("finished", "training", rounds == 0, None),
    ]


def test_work_that_is_part_of_other_work_is_told_of_but_not_its_end():
    heard, plain = Heard(), Heard()
    for told in (within(heard), plain):
        play(told)
        told.jobs_expected(7)
        told.jobs_announced(["decoder", "hybrid"], [3, 5])
    within(heard).ended(None)
    assert heard.events == plain.events
