"""What `help` explains is what the documentation says."""

from pathlib import Path

import pytest

from dtfl_private.cli.listed.topics import FILE, LISTS, PASSAGES, Passage, _topic, topics, topics_document
from dtfl_private.cli.lists import LISTINGS

DOCS = Path(__file__).parents[3] / "docs"


def test_the_record_is_that_of_the_pages():
    same = FILE.read_text("utf-8") == topics_document(DOCS)
    assert same, "dtfl_private/cli/listed/topics.json is not that of docs: `make lists` writes it anew"


def test_topics_have_text_and_lists_that_there_are():
    assert all(len(topic["text"]) > 200 for topic in topics().values())
    assert {*LISTS} <= {*PASSAGES}
    assert {*LISTS.values()} <= {*LISTINGS}


def test_a_passage_is_a_section_or_its_beginning(tmp_path):
    (tmp_path / "page.md").write_text(
        "# Page\n\nFirst.\n\n## 1. One\n\nText.\n\nStop here.\n\nMore.\n\n## Two\n\nOther.\n"
    )
    assert _topic(tmp_path, Passage(page="page.md"))["text"] == "First."
    one = _topic(tmp_path, Passage(page="page.md", section="1. One"))
    assert one == {"heading": "One", "page": "docs/page.md", "text": "Text.\n\nStop here.\n\nMore."}
    assert _topic(tmp_path, Passage(page="page.md", section="1. One", until="Stop"))["text"] == "Text."
    with pytest.raises(ValueError, match="Three"):
        _topic(tmp_path, Passage(page="page.md", section="Three"))
