"""The table of data sets: what they are, and whether their files are on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.errors import InputError
from dtfl_private.report.tables.facts import Facts, blocks_table


def dataset_facts(
    rows: Sequence[tuple[str, str, str]], facts: Mapping[str, DatasetFacts | None], data_dir: Path | None
) -> dict[str, Facts]:
    """Return what ``list datasets`` says of each data set; nothing is decoded for it.

    Args:
        rows: name, settings and summary of each.
        facts: fact sheets by name; of a loader that has none, only the row is shown.
        data_dir: where to look; None looks only where data sets look by themselves.
    """
    return {
        name: {"what it is": summary, "settings": settings or "none", **_facts(facts[name], data_dir)}
        for name, settings, summary in rows
    }


def datasets_table(things: Mapping[str, Facts], data_dir: Path | None) -> Table:
    """Return the table of ``list datasets``."""
    where = "the data sets' own places" if data_dir is None else f"'{data_dir}'"
    return blocks_table("datasets", things, caption=f"looked in {where}, settings follow the name: NAME:key=value,...")


def _facts(sheet: DatasetFacts | None, data_dir: Path | None) -> Facts:
    if sheet is None:
        return {}
    return {
        "shape": sheet.shape,
        "classes": sheet.classes,
        "examples": f"training: {sheet.train}; test: {sheet.test}",
        "found here": _found(sheet, data_dir),
        "how to get": sheet.obtain,
    }


def _found(sheet: DatasetFacts, data_dir: Path | None) -> str:
    try:
        where = sheet.look(data_dir)
    except (InputError, OSError) as error:
        return f"no: {error}"
    return f"yes, {where}" if where else "no"
