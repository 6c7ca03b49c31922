from pathlib import Path

from dtfl_private.report.live.notebook import LEAST_S, SHOWN_ROUNDS, NotebookDisplay


def a_record(number, **changes):
    figures = {"test_accuracy": 0.5 + number / 100, "test_loss": 1.25, "virtual_time_s": 65.0 * number}
    return {"round": number, **figures, "tiers": {"0": 1, "1": 4}, **changes}


class Clock:
    """A clock that goes on by a step each time somebody looks."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def displayed(step_s: float = 2 * LEAST_S):
    shown: list[str] = []
    return NotebookDisplay(shown.append, Clock(step_s)), shown


def test_a_training_shows_its_bar_and_its_last_rounds():
    display, shown = displayed()
    display.run_started(Path("runs/<mine>"), 20, [a_record(1)], list)
    for number in range(2, 13):
        display.round_finished(a_record(number))
    display.ended(None)
    assert "training runs/&lt;mine&gt;" in shown[-1]
    assert '<progress value="12.000" max="20"></progress> 12 of 20' in shown[-1]
    assert shown[-1].count("<tr>") == SHOWN_ROUNDS + 1
    assert "0.6200" in shown[-1]
    assert "1:1 4:1" in shown[-1]


def test_a_language_model_shows_its_perplexity():
    display, shown = displayed()
    display.run_started(Path("run"), 2, [a_record(1, test_perplexity=34.5678)], list)
    display.round_finished(a_record(2, test_perplexity=12.3456))
    assert ">perplexity<" in shown[-1]
    assert "34.57" in shown[-1]
    assert "12.35" in shown[-1]


def test_jobs_show_how_far_they_are_and_count_by_their_share():
    display, shown = displayed()
    display.jobs_announced(["decoder", "<hybrid>"])
    display.job_started("decoder")
    display.job_finished("decoder")
    display.job_started("<hybrid>")
    display.job_advanced("<hybrid>", 1, 4, "SSIM 0.5")
    assert '<progress value="1.250" max="2">' in shown[-1]
    assert "&lt;hybrid&gt;  25%  SSIM 0.5" in shown[-1]
    display.job_finished("<hybrid>", error="it went wrong")
    assert "&lt;hybrid&gt; failed: it went wrong" in shown[-1]
    assert "25%" not in shown[-1]


def test_it_is_drawn_so_often_and_no_more_and_at_last_once_more():
    display, shown = displayed(step_s=LEAST_S / 10)
    display.run_started(Path("run"), 100, [], list)
    for number in range(1, 101):
        display.round_finished(a_record(number))
    assert 5 < len(shown) < 15
    display.ended(None)
    assert "100 of 100" in shown[-1]


def test_where_nothing_began_nothing_is_shown():
    display, shown = displayed()
    display.ended(ValueError())
    assert shown == []
