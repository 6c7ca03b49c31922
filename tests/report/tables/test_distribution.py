import io

import numpy as np
from rich.console import Console

from dtfl_private.report.tables.distribution import MOST_ROWS, ROWS_OF_EACH_END, distribution_table, spread_table

TEN = tuple("abcdefghij")


def shown(table: object) -> str:
    console = Console(width=200, file=io.StringIO(), markup=False)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined] # a StringIO, see above


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
