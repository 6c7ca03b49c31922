from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dtfl_private.report.live.training import SHOWN_CLIENTS, SHOWN_ROUNDS, TrainingDisplay
from dtfl_private.simulation.round_plan import RoundPlan


def a_plan(number: int = 1, clients: int = 3) -> RoundPlan:
    seconds = np.ones(clients)
    return RoundPlan(
        round=number,
        clients_P=np.arange(clients),
        tiers_P=1 + np.arange(clients) % 4,
        batches_P=np.ones(clients, dtype=np.int64),
        sent_P=np.full(clients, 8),
        images_P=np.ones(clients, dtype=np.int64),
        dropped_P=np.zeros(clients, dtype=np.bool_),
        measured_P=np.zeros(clients, dtype=np.int64),
        sent_batches_P=np.ones(clients, dtype=np.int64),
        compute_s_P=seconds,
        transfer_s_P=seconds,
        client_time_s_P=seconds,
        server_wait_s=0.0,
        round_time_s=1.0,
    )


def a_record(number: int, **changes: Any) -> Any:
    figures = {"test_accuracy": 0.5 + number / 100, "test_loss": 1.25, "virtual_time_s": 65.0 * number}
    others = {"round_time_s": 65.0, "wall_time_s": 2.0, "dropped": [], "tiers": {"0": 1, "1": 4, "2": 4}}
    return {"round": number, **figures, **others, **changes}


def begin(display: TrainingDisplay, *records: Any) -> None:
    """Start the display, with these finished rounds and one opening line if there are none."""
    display.run_started(Path("runs/mine"), 9, records, lambda: [] if records else ["what comes"])


def on_a_terminal(width: int = 140) -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(
        file=file, force_terminal=True, width=width, height=60, color_system=None, legacy_windows=False
    ), file


def shown(console: Console, display: TrainingDisplay) -> str:
    with console.capture() as capture:
        console.print(display._render())
    return capture.get()


def test_a_terminal_shows_accuracy_time_and_the_tier_of_every_client():
    console, file = on_a_terminal()
    with TrainingDisplay(console, rounds=5) as display:
        begin(display)
        display.round_planned(a_plan())
        display.client_trained(0)
        display.round_finished(a_record(1, dropped=[2]))
        display.round_planned(a_plan(2))
        display.client_trained(0)
        display.client_trained(1)
    drawn = file.getvalue()
    assert "1/5" in drawn
    assert "2/3" in drawn
    row = next(line for line in drawn.splitlines() if "0.5100" in line)
    assert row.split() == ["1", "0.5100", "1.2500", "1", "min", "05", "s", "1", "min", "05", "s", "1", "1:1", "4:2"]
    assert "round 2: tier of each client  0:1  1:2  2:3" in drawn


def test_many_clients_are_counted_by_tier():
    console, _ = on_a_terminal()
    display = TrainingDisplay(console, rounds=2)
    display.round_planned(a_plan(clients=SHOWN_CLIENTS + 1))
    assert "round 1: clients per tier  1:6 2:5 3:5 4:5" in shown(console, display)
    display.round_planned(a_plan(clients=SHOWN_CLIENTS))
    assert "tier of each client  0:1  1:2" in shown(console, display)


def test_the_last_rounds_are_kept_in_view():
    console, _ = on_a_terminal()
    display = TrainingDisplay(console, rounds=30)
    for number in range(1, 12):
        display.round_finished(a_record(number))
    table = shown(console, display)
    assert [n for n in range(1, 12) if f"{0.5 + n / 100:.4f}" in table] == list(range(12 - SHOWN_ROUNDS, 12))
    assert "11/30" in table


def test_a_resumed_run_shows_what_was_done_before():
    console, _ = on_a_terminal()
    with TrainingDisplay(console, rounds=9) as display:
        begin(display, a_record(1), a_record(2))
        table = shown(console, display)
        assert "2/9" in table
        assert "0.5200" in table
        display.round_finished(a_record(3))
        assert "3/9" in shown(console, display)


def test_elsewhere_each_round_is_one_line_without_control_characters():
    file, now = StringIO(), [100.0]
    with TrainingDisplay(Console(file=file, width=40), rounds=12, clock=lambda: now[0]) as display:
        begin(display)
        display.round_planned(a_plan())
        display.client_trained(0)
        now[0] += 6  # for three rounds: nine are left
        display.round_finished(a_record(3))
        display.note("something was amiss")
        display.round_finished(a_record(4, dropped=[1, 2]))
    assert file.getvalue().splitlines() == [
        "what comes",
        "round  3/12  accuracy 0.5300  loss 1.2500  simulated 3 min 15 s  tiers 1:1 4:2  wall 2 s  about 18 s left",
        "note: something was amiss",
        "round  4/12  accuracy 0.5400  loss 1.2500  simulated 4 min 20 s  tiers 1:1 4:2  dropped 2  wall 2 s"
        "  about 12 s left",
    ]


def fail_inside(console: Console) -> None:
    with TrainingDisplay(console, rounds=2) as display:
        begin(display)
        raise ZeroDivisionError


def test_after_an_error_the_cursor_is_back():
    console, file = on_a_terminal()
    with pytest.raises(ZeroDivisionError):
        fail_inside(console)
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1


def test_nothing_is_drawn_before_the_run_begins():
    console, file = on_a_terminal()
    with TrainingDisplay(console, rounds=2):
        pass
    assert file.getvalue() == ""
