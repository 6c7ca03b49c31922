import io
from pathlib import Path

from rich.console import Console

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.errors import InputError
from dtfl_private.report.tables.datasets import dataset_facts, datasets_table


def look(folder: Path | None) -> str | None:
    if folder == Path("forbidden"):
        raise InputError("forbidden cannot be read")
    return f"{folder}/mine" if folder else None


FACTS = DatasetFacts(title="Mine", shape="1x2x3", classes="2", train="50", test="30", obtain="ask me", look=look)
DESCRIBED = [("mine", "size=3", "My images."), ("other", "", "No sheet.")]


def shown(folder: Path | None) -> str:
    """Return the table as one line, at the width of a narrow terminal."""
    console = Console(width=80, file=io.StringIO(), markup=False)
    console.print(datasets_table(dataset_facts(DESCRIBED, {"mine": FACTS, "other": None}, folder), folder))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined] # a StringIO, see above


def test_a_data_set_is_shown_with_its_facts():
    facts = "shape 1x2x3 classes 2 examples training: 50; test: 30 found here no how to get ask me"
    assert f" mine what it is My images. settings size=3 {facts} other " in shown(None)


def test_where_the_data_are_is_shown():
    assert " found here yes, here/mine how to get " in shown(Path("here"))


def test_a_path_without_spaces_is_shown_whole():
    folder = Path("/", *["deep"] * 40)
    assert f"yes,{folder}/mine" in shown(folder).replace(" ", "")


def test_a_folder_that_cannot_be_read_stops_no_list():
    assert " found here no: forbidden cannot be read " in shown(Path("forbidden"))


def test_a_loader_without_a_fact_sheet_is_listed():
    assert " other what it is No sheet. settings none looked in " in shown(None)
