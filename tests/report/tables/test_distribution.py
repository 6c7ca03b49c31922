import io
import warnings

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from dtfl_private.report.tables.distribution import (
    MOST_ROWS,
    ROWS_OF_EACH_END,
    distribution_picture,
    distribution_table,
    spread_table,
)

TEN = tuple("abcdefghij")


def shown(table: object) -> str:
    console = Console(width=200, file=io.StringIO(), markup=False)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def table(counts: np.ndarray, classes: tuple[str, ...]) -> str:
    clients = len(counts)
    return shown(distribution_table(counts, np.full(clients, 2.5), np.full(clients, 0.25), classes, title="heading"))


def counts(clients: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50, (clients, classes))


def test_few_classes_have_a_column_each():
    text = table(np.array([[1000, 0, 7], [1, 2, 3]]), ("cat", "dog", "owl"))
    lines = [line.split() for line in text.splitlines()]
    assert ["0", "1,007", "1000", "0", "7", "2.50", "0.250"] in lines
    assert ["1", "6", "1", "2", "3", "2.50", "0.250"] in lines
    assert "classes: 0 cat, 1 dog, 2 owl" in text
    assert "heading" in text


def test_classes_that_are_named_as_they_are_numbered_are_not_explained():
    assert "classes:" not in table(counts(3, 3), ("0", "1", "2"))


def test_of_many_classes_the_largest_are_named():
    few, many = np.zeros(100, dtype=np.int64), np.zeros(100, dtype=np.int64)
    few[[90, 3]] = 7, 4
    many[:8] = 1
    many[42] = 9
    text = table(np.stack([few, many]), tuple(f"class{number}" for number in range(100)))
    assert " 90:7 3:4 " in text
    assert " 42:9 0:1 1:1 2:1 3:1 +4 more " in text
    assert "(100 in all)" in text


def test_of_many_clients_the_largest_and_the_smallest_are_shown():
    sizes = np.random.default_rng(0).permutation(MOST_ROWS + 1) + 1
    text = table(sizes[:, np.newaxis], ("a",))
    rows = [line.split() for line in text.splitlines() if line.split() and line.split()[0].isdigit()]
    assert len(rows) == 2 * ROWS_OF_EACH_END
    seen = [int(row[1]) for row in rows]
    assert seen == [*range(MOST_ROWS + 1, MOST_ROWS + 1 - ROWS_OF_EACH_END, -1), *range(ROWS_OF_EACH_END, 0, -1)]
    assert all(sizes[int(row[0])] == int(row[1]) for row in rows)
    assert "..." in text


def test_all_rows_are_shown_in_order_as_long_as_they_are_few():
    text = table(counts(MOST_ROWS, 3) + 1, ("a", "b", "c"))
    rows = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0].isdigit()]
    assert rows == [str(client) for client in range(MOST_ROWS)]


def test_the_spread_is_minimum_median_and_maximum():
    text = shown(spread_table(np.array([10, 2000, 30]), np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.25, 0.125])))
    assert "over 3 clients" in text
    assert [line.split()[-3:] for line in text.splitlines() if line.strip()][3:] == [
        ["10", "30", "2,000"],
        ["1.00", "2.00", "4.00"],
        ["0.125", "0.250", "0.500"],
    ]


@pytest.mark.parametrize(("clients", "classes"), [(1, 2), (10, 10), (200, 10), (12, 20), (30, 100)])
def test_the_picture_is_a_png_without_complaint(clients, classes):
    names = tuple(f"class {number}" for number in range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = distribution_picture(counts(clients, classes) + 1, names, title="heading")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width == 1500


def test_each_class_has_its_colour_in_proportion():
    # One client with three quarters of class 0 and one quarter of class 1, in matplotlib's first two colours.
    picture = distribution_picture(np.array([[75, 25]]), ("a", "b"), title="")
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)
    first, second = ((pixels == colour).all(axis=1).sum() for colour in ((31, 119, 180), (255, 127, 14)))
    assert first / second == pytest.approx(3, rel=0.05)


def test_names_are_shown_literally():
    # A formula that does not parse would raise; a label after "_" would be left out with a warning.
    picture = distribution_picture(counts(3, 3) + 1, ("$a_{$", "_hidden", "c$d"), title="$x_{$")
    assert picture.startswith(b"\x89PNG")


def test_the_same_counts_give_the_same_picture():
    first, again = (distribution_picture(counts(5, 3), ("a", "b", "c"), title="t") for _ in range(2))
    assert first == again
