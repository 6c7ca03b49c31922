"""results.json of ``python -m benchmarks.full_size``, and the Markdown table that is made from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.host import host_line
from dtfl_private import InputError, TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.loaded_inputs import load_inputs
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.report.words.numbers import duration
from dtfl_private.training.round_record import Record

LARGEST_RESULTS_BYTES = 2**26
GIB = 2**30

# Test accuracies whose first reaching is reported.
TARGETS = {"cifar-10": (0.5, 0.6, 0.7), "fashion-mnist": (0.8, 0.85, 0.9), "digits": (0.5, 0.8)}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A method's rounds so far.

    Attributes:
        method: its name.
        folder: of its run.
        records: of its finished rounds.
        peak_gpu_bytes: the most memory that its tensors took on the GPU in this call; None on a CPU.
        error: why it could not go on, or None.
    """

    method: str
    folder: RunFolder
    records: Sequence[Record]
    peak_gpu_bytes: int | None
    error: str | None


def save_results(path: Path, configs: Mapping[str, TrainConfig], found: Sequence[Measured]) -> None:
    """Write what the methods have come to; peaks of earlier calls stay, and so do methods that this call left out."""
    earlier = load_results(path)["methods"] if path.is_file() else {}
    config = next(iter(configs.values()))
    if not found:
        return
    images = _images(config)
    results = {
        "dataset": config.dataset,
        "images": images,
        "model": config.model,
        "clients": config.clients,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "seed": config.seed,
        "targets": TARGETS[config.dataset],
        "host": host_line(),
        "methods": {**earlier, **{one.method: _method(one, images, earlier.get(one.method, {})) for one in found}},
    }
    write_atomic(path, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())


_known_images: dict[tuple[object, ...], int] = {}


def _images(config: TrainConfig) -> int:
    """Return how many training images there are; all clients together go over each of them once a round."""
    key = (config.dataset, config.data_dir, config.max_train_images)
    if key not in _known_images:
        _known_images[key] = int(load_inputs(config, None, pooled=False).images_K.sum())
    return _known_images[key]


def _method(one: Measured, images: int, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's part of the results; ``earlier`` is the same part of an earlier call."""
    peaks = [peak for peak in (one.peak_gpu_bytes, earlier.get("peak_gpu_bytes")) if peak is not None]
    # The first round is longer: kernels are loaded, and memory is taken.
    warm_s = [record["wall_time_s"] for record in one.records[1:] or one.records]
    environment = reading.read_json(one.folder.environment, most_bytes=2**20) if one.records else {}
    return {
        "rounds": [
            {name: record[name] for name in ("round", "test_accuracy", "virtual_time_s", "wall_time_s")}
            for record in one.records
        ],
        "wall_s_per_round": float(np.median(warm_s)) if warm_s else None,
        "images_per_wall_s": images / max(1e-9, float(np.median(warm_s))) if warm_s else None,
        "peak_gpu_bytes": max(peaks, default=None),
        "environment": environment,
        "error": one.error,
    }


def load_results(path: Path) -> dict[str, Any]:
    """Return what `save_results` wrote.

    Raises:
        InputError: the file is missing, or no results.
    """
    try:
        results = reading.read_json(path, most_bytes=LARGEST_RESULTS_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({reading.reason(error)}): name a results.json") from None
    if not isinstance(results, dict) or "methods" not in results or "targets" not in results:
        raise InputError(f"{path} is no results.json of benchmarks.full_size")
    return results


def all_methods(results: Mapping[str, Any], methods: Sequence[str]) -> bool:
    """Whether every method has a finished round."""
    return all(results["methods"].get(method, {}).get("rounds") for method in methods)


def markdown(results: Mapping[str, Any]) -> str:
    """Return the table: all methods after the same number of rounds."""
    methods = {name: one for name, one in results["methods"].items() if one["rounds"]}
    rounds = min((len(one["rounds"]) for one in methods.values()), default=0)
    targets = results["targets"]
    head = [
        "method",
        f"accuracy after {rounds} rounds",
        *(f"simulated time to {target:g}" for target in targets),
        *("simulated s per round", "wall s per round", "images per wall s", "peak GPU memory"),
    ]
    rows = [_row(name, one, rounds, targets) for name, one in methods.items()]
    failed = [f"{name} failed: {one['error']}" for name, one in results["methods"].items() if one["error"]]
    lines = [head, ["--"] * len(head), *rows]
    return "\n".join([_about(results, methods), "", *("| " + " | ".join(line) + " |" for line in lines), *failed])


def _about(results: Mapping[str, Any], methods: Mapping[str, Any]) -> str:
    """Return what the figures were measured with."""
    environment: Mapping[str, Any] = next((one["environment"] for one in methods.values()), {})
    return (
        f"{results['model']}, {results['dataset']} ({results['images']:,} training images), {results['clients']} "
        f"clients, batch {results['batch_size']}, {results['precision']}, seed {results['seed']}, n = 1; "
        f"{environment.get('device_name')}, {results['host']}, commit {environment.get('commit')}"
    )


def _row(name: str, one: Mapping[str, Any], rounds: int, targets: Sequence[float]) -> list[str]:
    compared = one["rounds"][:rounds]
    last, peak = compared[-1], one["peak_gpu_bytes"]
    return [
        name,
        f"{last['test_accuracy']:.4f}",
        *(_reached(compared, target) for target in targets),
        f"{last['virtual_time_s'] / rounds:.3g}",
        f"{one['wall_s_per_round']:.2f}",
        f"{one['images_per_wall_s']:,.0f}",
        "-" if peak is None else f"{peak / GIB:.2f} GiB",
    ]


def _reached(rounds: Sequence[Mapping[str, Any]], target: float) -> str:
    hit = next((one for one in rounds if one["test_accuracy"] >= target), None)
    return "not reached" if hit is None else f"{duration(hit['virtual_time_s'])} (round {hit['round']})"
