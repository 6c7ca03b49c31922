import io
from pathlib import Path

from rich.console import Console

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.errors import InputError
from dtfl_private.report.tables.datasets import datasets_table


def look(folder: Path | None) -> str | None:
    if folder == Path("forbidden"):
        raise InputError("forbidden cannot be read")
    return f"{folder}/mine" if folder else None


FACTS = DatasetFacts(title="Mine", shape="1x2x3", classes="2", train="50", test="30", obtain="ask me", look=look)
DESCRIBED = [("mine", "size=3", "My images."), ("other", "", "No sheet.")]


def row(name: str, folder: Path | None) -> str:
    console = Console(width=200, file=io.StringIO(), markup=False)
    console.print(datasets_table(DESCRIBED, {"mine": FACTS, "other": None}, folder))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return next(" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [name])


def test_a_data_set_is_shown_with_its_facts():
    assert row("mine", None) == "mine 1x2x3 2 50 30 no size=3 My images."


def test_where_the_data_are_is_shown():
    assert row("mine", Path("here")) == "mine 1x2x3 2 50 30 yes, here/mine size=3 My images."


def test_a_folder_that_cannot_be_read_stops_no_list():
    assert row("mine", Path("forbidden")) == "mine 1x2x3 2 50 30 no: forbidden cannot be read size=3 My images."


def test_a_loader_without_a_fact_sheet_is_listed():
    assert row("other", None) == "other ? ? ? ? ? No sheet."
