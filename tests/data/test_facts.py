from pathlib import Path

import pytest

from dtfl_private.data.facts import DatasetFacts, described_by, facts_of, first_folder_with
from dtfl_private.plugins.installed import installed

FACTS = DatasetFacts(
    title="Mine", shape="1x2x3", classes="2", train="5", test="3", obtain="ask me", look=lambda folder: str(folder)
)


def test_a_fact_sheet_stays_with_its_loader_which_works_as_before():
    @described_by(FACTS)
    def load(*, data_dir: Path) -> Path:
        """Load."""
        return data_dir

    assert facts_of(load) is FACTS
    assert load(data_dir=Path("here")) == Path("here")
    assert load.__doc__ == "Load."


@pytest.mark.parametrize("loader", [lambda: None, dict, 7, type("Odd", (), {"facts": "none"})])
def test_what_has_no_fact_sheet_is_no_error(loader):
    assert facts_of(loader) is None


def test_absence_is_told_with_the_way_to_get_the_data():
    assert str(FACTS.absent(None)) == "Mine needs --data-dir: ask me"
    assert str(FACTS.absent(Path("there"))) == "no Mine in there: ask me"


def test_the_first_folder_that_has_an_entry_is_taken(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name / "wanted").mkdir(parents=True)
    assert first_folder_with("wanted", tmp_path / "a", tmp_path / "b", tmp_path / "c") == tmp_path / "b"
    assert first_folder_with("other", tmp_path / "b") is None


@pytest.mark.parametrize("name", installed("dataset"))
def test_every_built_in_data_set_has_facts_and_finds_nothing_in_an_empty_folder(name, tmp_path):
    facts = facts_of(installed("dataset")[name].load())
    assert facts is not None
    where = facts.look(tmp_path)
    assert where is None or not where.startswith(str(tmp_path))
    assert "\n" not in facts.obtain
