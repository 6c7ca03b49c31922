import io

import pytest
from rich.text import Text

from dtfl_private.cli import terminal
from dtfl_private.cli.encoding import SPELLING
from dtfl_private.cli.terminal import open_console
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.live.sweep import SweepDisplay
from dtfl_private.report.tables.plain import plain_table

EVIL = "\x1b]0;evil\x07\x1b[2J\x9b31m\u202e\r\x08[red]x[/red]"
SHOWN = r"\x1b]0;evil\x07\x1b[2J\x9b31m\u202e\r\x08[red]x[/red]"
SHORT, SHORT_SHOWN = "\x1b[2J\x07[red]x", r"\x1b[2J\x07[red]x"


def table() -> object:
    made = plain_table(EVIL, EVIL, "b")
    made.add_row(EVIL, "1")
    made.caption = EVIL
    return made


@pytest.mark.parametrize("what", [EVIL, table()], ids=["line", "table"])
def test_names_neither_steer_the_terminal_nor_are_markup(monkeypatch, what):
    monkeypatch.setenv("COLUMNS", "300")
    console = open_console()
    console.file = io.StringIO()
    console.print(what, soft_wrap=True, highlight=False)
    text = console.file.getvalue()
    assert SHOWN in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_styles_of_our_own_still_reach_a_terminal():
    console = terminal._PrintableConsole(force_terminal=True, file=io.StringIO(), color_system="standard", width=100)
    console.print(Text("bold\x1b[2J", style="bold"))
    assert console.file.getvalue() == "\x1b[1mbold\\x1b[2J\x1b[0m\n"


def test_columns_stay_aligned_where_the_encoding_lacks_a_character():
    made = plain_table("", "name", "mean", "n")
    made.add_row("one", "0.5 ± 0.1", "3")
    made.add_row("two", "0.5", "3")
    raw = io.BytesIO()
    console = terminal._PrintableConsole(file=io.TextIOWrapper(raw, "ascii", errors=SPELLING), width=60)
    console.print(made)
    console.file.flush()
    lines = raw.getvalue().decode("ascii").split("\n")
    (one,), (two,) = ([line for line in lines if name in line] for name in ("one", "two"))
    assert "0.5 +/- 0.1" in one
    assert len(one.rstrip()) == len(two.rstrip())


@pytest.mark.parametrize("make", [SweepDisplay, AttackDisplay])
def test_a_progress_bar_shows_a_name_as_it_is(make):
    console = terminal._PrintableConsole(
        force_terminal=True, file=io.StringIO(), width=160, markup=False, color_system=None
    )
    with make(console) as display:
        if isinstance(display, SweepDisplay):
            display.jobs_announced([SHORT], [2])
        else:
            display.jobs_announced([SHORT])
        display.job_started(SHORT)
    assert SHORT_SHOWN in console.file.getvalue()
    assert "\x07" not in console.file.getvalue()
