"""Which round's model a run selects: by validation images where there are some. It follows from the records alone."""

from collections.abc import Iterable, Sequence

from dtfl_private.training.round_record import Record


def is_validated(records: Iterable[Record]) -> bool:
    """Whether the run has validation images."""
    return any("validation_accuracy" in record for record in records)


def selected_round(records: Sequence[Record]) -> Record:
    """Return the first round of the highest validation accuracy; without validation images, of test accuracy.

    The test accuracy of the second kind is optimistic: the round was chosen by it.
    """
    return max(records, key=_validation_accuracy if is_validated(records) else _test_accuracy)


def rounds_without_gain(records: Sequence[Record]) -> int:
    """Return how many rounds have passed since the selected one."""
    return records[-1]["round"] - selected_round(records)["round"] if records else 0


def _validation_accuracy(record: Record) -> float:
    accuracy = record.get("validation_accuracy")
    return -1.0 if accuracy is None else accuracy  # below any: none of the images was judged


def _test_accuracy(record: Record) -> float:
    return record["test_accuracy"]
