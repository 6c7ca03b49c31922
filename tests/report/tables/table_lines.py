"""Tables as the lines and cells that a reader sees."""

from io import StringIO

from rich.console import Console


def lines(table) -> list[str]:
    file = StringIO()
    Console(file=file, width=200, color_system=None).print(table)
    return [line.strip() for line in file.getvalue().splitlines() if line.strip()]


def row(table, start: str) -> list[str]:
    """Return the cells of the row that starts with this text, without it."""
    (line,) = [line for line in lines(table) if line.startswith(f"{start} ")]
    return [cell.strip() for cell in line.removeprefix(start).split("  ") if cell.strip()]
