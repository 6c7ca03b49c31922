from html.parser import HTMLParser

from audit_samples import contrast
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from dtfl_private.html_table import BADGES, MOST_ROWS, badge_html, table_html
from dtfl_private.printable import printable


class Read(HTMLParser):
    """What a browser would read: the names of the tags, and the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


HARMLESS = {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "span"}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;", "\x1b[2J", "\u202e"]
)


@given(
    title=TEXTS,
    columns=st.lists(TEXTS, max_size=3),
    cells=st.lists(st.lists(TEXTS, max_size=3), min_size=1, max_size=3),
)
def test_whatever_the_texts_are_a_browser_reads_them_as_texts(title, columns, cells):
    read = Read(table_html(title, columns, cells, notes=[title]))
    assert set(read.tags) <= HARMLESS
    wanted = [title, *columns, *(cell for row in cells for cell in row), title]
    lines = ["\n".join(map(printable, text.split("\n"))) for text in wanted]
    assert "".join(read.texts) == "".join(lines)


def test_badges_are_the_only_cells_with_tags_of_their_own():
    html = table_html("audit", ["tier"], [[badge_html("<exposed>", "bad")], [Markup("<b>1</b>")], ["<b>2</b>"]])
    read = Read(html)
    assert (read.tags.count("span"), read.tags.count("b")) == (1, 2)
    assert read.texts == ["audit", "tier", "<exposed>", "1", "<b>2</b>"]


def test_white_words_are_legible_on_all_badges():
    """WCAG 2 AA asks for a contrast of 4.5."""
    assert min(contrast("#ffffff", colour) for colour in BADGES.values()) >= 4.5


def test_of_a_long_table_the_ends_are_shown():
    read = Read(table_html("", [], [[number] for number in range(MOST_ROWS + 5)]))
    assert read.tags.count("tr") == MOST_ROWS + 1
    assert (read.texts[0], read.texts[-1], read.texts[MOST_ROWS // 2]) == ("0", str(MOST_ROWS + 4), "...")
