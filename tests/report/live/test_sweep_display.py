import io

from rich.console import Console

from dtfl_private.report.live.sweep import SweepDisplay


def lines_of(play) -> list[str]:
    """Return what a display without a terminal prints; ``play(display, clock)`` sets the clock by its only element."""
    text, now = io.StringIO(), [100.0]
    with SweepDisplay(Console(file=text, width=160), clock=lambda: now[0]) as display:
        play(display, now)
    return text.getvalue().splitlines()


def test_the_remaining_time_follows_from_the_rounds_of_this_sweep_alone():
    def play(display, now):
        display.jobs_announced(["a", "b", "c"], [10, 10, 10])
        display.job_finished("a", cached=True)
        display.job_started("b")
        display.job_advanced("b", 4, 10, "accuracy 0.2500")  # resumed: four rounds of an earlier sweep
        now[0] += 12
        for rounds in range(5, 11):
            display.job_advanced("b", rounds, 10, "accuracy 0.5000")
        display.job_finished("b")

    assert lines_of(play) == [
        "[2/3] b  accuracy 0.5000 after 10 rounds  about 20 s left",  # 12 s for 6 rounds, 10 are left
    ]


def test_a_run_that_stops_early_or_fails_leaves_no_rounds_to_wait_for():
    def play(display, now):
        display.jobs_announced(["a", "b"], [10, 10])
        for name in "ab":
            display.job_started(name)
            display.job_advanced(name, 0, 10)
        now[0] += 6
        display.job_advanced("a", 3, 10, "accuracy 0.7500")
        display.job_finished("a")
        display.job_finished("b", error="the loss became nan")

    assert lines_of(play) == [
        "[1/2] a  accuracy 0.7500 after 3 rounds  about 20 s left",
        "[2/2] b  failed: the loss became nan",
    ]


def test_the_runs_after_the_trials_are_counted_anew():
    def play(display, now):
        for jobs in (["trial1", "trial2"], ["run1", "run2"]):
            display.jobs_announced(jobs, [2, 2])
            for job in jobs:
                display.job_started(job)
                display.job_advanced(job, 0, 2)
                now[0] += 6
                display.job_advanced(job, 2, 2, "accuracy 0.5000")
                display.job_finished(job)

    assert lines_of(play) == [
        "[1/2] trial1  accuracy 0.5000 after 2 rounds  about 6 s left",
        "[2/2] trial2  accuracy 0.5000 after 2 rounds",
        "[1/2] run1  accuracy 0.5000 after 2 rounds  about 6 s left",
        "[2/2] run2  accuracy 0.5000 after 2 rounds",
    ]
