from io import StringIO

from rich.console import Console

from dtfl_private.report.markdown_page import markdown_parts

PAGE = """A paragraph with `code`, a [link](page.md#part) and **bold
words** over two lines.

    dtfl-private train --rounds 3

| word | means |
|--|--|
| `one` | the *first* [thing](x.md) |

1. First, which goes
   on.
2. Second.

### A heading
"""


def test_each_kind_of_part_is_shown_without_its_markup():
    file = StringIO()
    console = Console(file=file, width=80, color_system=None, markup=False)
    for part in markdown_parts(PAGE):
        console.print(part)
    lines = [line.strip() for line in file.getvalue().splitlines() if line.strip()]
    assert lines == [
        "A paragraph with code, a link and bold words over two lines.",
        "dtfl-private train --rounds 3",
        "word   means",
        "─" * 22,
        "one    the first thing",
        "1. First, which goes on.",
        "2. Second.",
        "A heading",
    ]
