"""What of the reference is generated stands in its pages, whole."""

from pathlib import Path

import dtfl_private
from docs.hooks.generated_reference import GENERATED, on_page_markdown

PAGES = [page.read_text("utf-8") for page in (Path(__file__).parents[2] / "docs").rglob("*.md")]


def test_every_generated_part_has_one_place():
    assert {marker: sum(page.count(marker) for page in PAGES) for marker in GENERATED} == dict.fromkeys(GENERATED, 1)


def test_all_public_names_are_listed():
    listed = on_page_markdown("<!-- functions -->\n\n<!-- classes -->").split()
    assert sorted(listed[1::2]) == [f"dtfl_private.{name}" for name in dtfl_private.__all__]


def test_a_command_is_shown_as_it_explains_itself():
    shown = on_page_markdown("<!-- commands -->")
    assert "Usage: dtfl-private [OPTIONS]" in shown
    assert "## plan\n\n```text\nUsage: dtfl-private plan" in shown
    assert "### config show\n\n```text\nUsage: dtfl-private config show" in shown


def test_other_text_stays():
    assert on_page_markdown("Commands and classes.") == "Commands and classes."
