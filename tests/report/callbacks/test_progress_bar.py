from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dtfl_private import InputError, ProgressBar, attack, audit, sweep, train
from dtfl_private.report.callbacks import progress_bar
from dtfl_private.runtime.callback import EVENTS, Callback, Callbacks


def a_training(bar, record):
    bar.note("before it begins")
    bar.run_started(Path("runs/mine"), 5, [], lambda: ["what \x1b[2Jcomes"])
    bar.round_finished(record)
    bar.ended(None)


def on(console_settings):
    file = StringIO()
    return Console(file=file, width=140, color_system=None, legacy_windows=False, **console_settings), file


def test_off_a_terminal_there_is_a_line_for_each_round(a_round):
    console, file = on({"force_terminal": False})
    a_training(ProgressBar(console=console), a_round(1))
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["note: before it begins", r"what \x1b[2Jcomes"]
    assert lines[2].startswith("round 1/5  accuracy 0.5100  loss 1.2500")


def test_on_a_terminal_bars_are_drawn_and_left_there(a_round):
    console, file = on({"force_terminal": True})
    bar = ProgressBar(console=console)
    a_training(bar, a_round(1))
    assert "rounds" in file.getvalue()
    assert "1/5" in file.getvalue()
    assert console._live_stack == []
    a_training(bar, a_round(1))  # the next training has a display of its own
    assert console._live_stack == []


def test_by_default_it_writes_to_standard_output(a_round, capsys):
    a_training(ProgressBar("lines"), a_round(1))
    assert "round 1/5" in capsys.readouterr().out


def test_in_a_notebook_one_output_is_drawn_anew(a_round, monkeypatch):
    shown = []
    monkeypatch.setattr(progress_bar, "shown_in_notebook", lambda: shown.append)
    console, file = on({"force_jupyter": True})
    a_training(ProgressBar(console=console), a_round(1))
    assert "1 of 5" in shown[-1]
    assert file.getvalue() == ""


def test_it_is_silent_where_it_shall_be(a_round, capsys):
    bar = ProgressBar("nothing")
    for _ in range(2):
        a_training(bar, a_round(1))
        bar.job_started("decoder")
        bar.ended(None)
    assert capsys.readouterr() == ("", "")


def test_a_sweep_has_its_own_lines_also_for_runs_that_had_ended_before(capsys):
    bar = ProgressBar("lines")
    bar.note("1 of 2 runs had ended before and are not repeated")
    bar.jobs_announced(["first", "second"], [3, 3])
    bar.job_finished("first", cached=True)
    bar.job_started("second")
    bar.job_advanced("second", 3, 3, "accuracy 0.5")
    bar.job_finished("second")
    bar.ended(None)
    assert "[2/2] second  accuracy 0.5 after 3 rounds" in capsys.readouterr().out


def test_jobs_of_an_attack_have_a_line_each(capsys):
    bar = ProgressBar("lines")
    bar.jobs_announced(["decoder, tier 1"])
    bar.job_started("decoder, tier 1")
    bar.job_advanced("decoder, tier 1", 1, 2)
    bar.job_finished("decoder, tier 1", cached=True)
    bar.ended(None)
    assert "1/1  decoder, tier 1  cached" in capsys.readouterr().out


def test_another_way_to_show_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown show of a ProgressBar 'line': did you mean 'lines'\?"):
        ProgressBar("line")


def test_no_event_is_forgotten():
    """Each of a training's and a job's events is passed on to what is shown, or is not for a display."""
    assert {*EVENTS} - {*vars(ProgressBar)} == {"run_finished"}


@pytest.mark.parametrize("function", [train, attack, audit, sweep])
def test_nothing_is_shown_unless_it_is_asked_for(function):
    assert function.__kwdefaults__["callbacks"] == ()
    assert isinstance(Callbacks(()), Callback)
