"""The records of rounds as rows of a table."""

from collections.abc import Mapping


def flat_record(record: Mapping[str, object]) -> dict[str, object]:
    """Return a record without anything inside it: dotted names for figures, the length of lists.

    Mappings by client, whose keys are numbers, are left out.
    """
    row: dict[str, object] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            if not any(str(inner).isdecimal() for inner in value):
                row |= {f"{key}.{name}": inner for name, inner in flat_record(value).items()}
        elif isinstance(value, list | tuple):
            row[key] = len(value)
        else:
            row[key] = value
    return row
