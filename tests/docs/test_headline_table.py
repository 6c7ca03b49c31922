"""The headline's figures stand in README and docs alike."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows(page: str) -> list[str]:
    """Return the rows of all tables of a page that show a time to a target."""
    tables = (ROOT / page).read_text("utf-8").split("\n\n")
    return [row for table in tables if "time to 0." in table.partition("\n")[0] for row in table.splitlines()]


def test_the_table_of_the_readme_is_one_of_the_docs():
    shown, documented = rows("README.md"), rows("docs/explanation/headline.md")
    assert len(shown) > 10
    assert [row for row in shown if row not in documented] == []
