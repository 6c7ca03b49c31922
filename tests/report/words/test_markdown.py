import html

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dtfl_private.printable import printable
from dtfl_private.report.words.markdown import markdown_text, yaml_text

# Texts that are rich in what means something to Markdown, and of whatever else there is.
TEXTS = st.text(st.one_of(st.sampled_from("\\`*_{}[]()<>#+-.!|~&;$:@=\"'/ 1ax\n\t"), st.characters()), max_size=30)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(TEXTS)
def test_markdown_shows_a_text_as_it_is_in_an_item_of_a_list(text):
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- {markdown_text(text)}")
    expected = html.escape(printable(text).strip(), quote=False)
    assert shown.replace("&quot;", '"') == f"<ul>\n<li>{expected}</li>\n</ul>\n"


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(TEXTS)
def test_yaml_reads_a_text_as_it_is(text):
    assert yaml.safe_load(f"a: {yaml_text(text)}\nb: [{yaml_text(text)}]") == {
        "a": printable(text),
        "b": [printable(text)],
    }


@pytest.mark.parametrize("text", ["http://a.example", "HTTPS://a.example", "www.a.example", "me@a.example"])
def test_no_address_is_left_that_hubs_make_links_of(text):
    shown = markdown_text(f"see {text}")
    assert text not in shown
    assert shown.replace("\\", "") == f"see {text}"


def test_long_texts_are_cut():
    assert len(markdown_text("x" * 10_000)) < 400
    assert len(yaml_text("x" * 10_000)) < 400
