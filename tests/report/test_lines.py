from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from dtfl_private.report.lines import broken_between_words, print_line

SENTENCE = "reconstruction can be harder, not impossible, see /a/path/that/is/longer/than/this/terminal/is/wide"


@given(st.text(alphabet="ab漢-, ", max_size=120), st.integers(min_value=1, max_value=40))
def test_words_stay_whole_and_lines_fit_where_their_words_do(text, width):
    lines = broken_between_words(text, width).split("\n")
    assert " ".join(lines) == text
    assert all(cell_len(line) <= width for line in lines if " " in line)


def test_a_terminal_gets_lines_and_a_pipe_one_line():
    for terminal, expected in ((True, 4), (False, 1)):
        file = StringIO()
        print_line(Console(file=file, width=20, force_terminal=terminal, color_system=None), SENTENCE)
        lines = file.getvalue().splitlines()
        assert len(lines) == expected
        assert lines[-1].endswith("/a/path/that/is/longer/than/this/terminal/is/wide")
