"""summary.json, model.safetensors and best.safetensors: what a run came to."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.model_file import ModelDescription, save_model
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.training.round_record import Record
from dtfl_private.training.selected_round import is_validated, selected_round

if TYPE_CHECKING:
    from dtfl_private.protocol.messages import State

LARGEST_SUMMARY_BYTES = 2**26


def has_ended(folder: RunFolder) -> bool:
    """Whether the summary says that the run ended as configured: after its last round, or because it was to stop."""
    return read_summary(folder).get("finished") is True


def final_accuracy(folder: RunFolder) -> float:
    """Return the test accuracy after a run's last round, as its summary says.

    Raises:
        RunError: the summary is missing or damaged.
    """
    accuracy = read_summary(folder).get("final_accuracy")
    if not isinstance(accuracy, float | int) or not 0 <= accuracy <= 1:
        raise RunError(f"{folder.summary} is missing or damaged: it names no final accuracy from 0 to 1")
    return float(accuracy)


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """Return a run's summary, which may come from anybody; empty where it is missing or damaged."""
    try:
        summary = reading.read_json(folder.summary, most_bytes=LARGEST_SUMMARY_BYTES)
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def summarise(
    records: Sequence[Record], target_accuracy: float | None, rounds: int, stopped: str | None = None
) -> dict[str, Any]:
    """Return the figures of summary.json from the records of the finished rounds.

    ``stopped`` is why the run ended before its last round, if it did.
    """
    last = records[-1]
    best = max(records, key=lambda record: record["test_accuracy"])
    hit = next((r for r in records if target_accuracy is not None and r["test_accuracy"] >= target_accuracy), None)
    return {
        "rounds": last["round"],
        "finished": last["round"] == rounds or stopped is not None,
        "stopped": stopped,
        "final_accuracy": last["test_accuracy"],
        "final_loss": last["test_loss"],
        "best_accuracy": best["test_accuracy"],
        "best_round": best["round"],
        **_selected(records),
        "target_accuracy": target_accuracy,
        "rounds_to_target": hit["round"] if hit else None,
        "time_to_target_s": hit["virtual_time_s"] if hit else None,
        "virtual_time_s": last["virtual_time_s"],
        "wall_time_s": round(sum(record["wall_time_s"] for record in records), 3),
        "bytes": _totals([record["bytes"] for record in records]),
        "macs": _totals([record["macs"] for record in records]),
        "last_round": last,
        **({"clock": last["clock"]} if "clock" in last else {}),
    }


def _selected(records: Sequence[Record]) -> dict[str, Any]:
    """Return which round is selected by what, and the test accuracy of its model."""
    record, validated = selected_round(records), is_validated(records)
    return {
        "chosen_on": "validation" if validated else "test",
        "selected_round": record["round"],
        "selected_accuracy": record["test_accuracy"],
        **({"selected_validation_accuracy": record.get("validation_accuracy")} if validated else {}),
    }


def _totals(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    # Rounds of an earlier version, which a resume has gone on from, lack the kinds that it did not know.
    return {kind: sum(count.get(kind, 0) for count in counts) for kind in counts[-1]}


def write_results(folder: RunFolder, model: "State", summary: Mapping[str, Any], description: ModelDescription) -> None:
    """Write the global model and the summary, each in one step."""
    save_model(folder.model, model, description)
    write_atomic(folder.summary, (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
