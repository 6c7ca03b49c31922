from dtfl_private.report.tables.plain import plain_table


def test_numbers_stand_to_the_right_and_names_to_the_left():
    table = plain_table("title", "name", "count", "note")
    table.add_row("a", "1", "x")
    assert [column.justify for column in table.columns] == ["left", "right", "right"]
    assert [column.justify for column in plain_table("", "a", "b", right=False).columns] == ["left", "left"]
