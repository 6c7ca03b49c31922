"""environment.json: what made a run: versions, commit, data, machine."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dtfl_private.errors import RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.numerics import Numerics

# Sizes beyond which a file of a run folder is not read.
LARGEST_ENVIRONMENT_BYTES = 2**20


VERSIONS_OF = ("dtfl-private", "torch", "torchvision", "numpy", "scikit-learn", "safetensors", "pydantic")


def describe_environment(numerics: Numerics, workers: int, data_sha256: str, executor: str) -> dict[str, Any]:
    """Return what a reader needs to judge a run's figures: versions, device, threads, data, commit if known."""
    import torch

    device = torch.cuda.get_device_name() if numerics.device == "cuda" else platform.processor() or platform.machine()
    return {
        "python": sys.version.split()[0],
        "versions": dict(installed_versions()),
        "platform": platform.platform(),
        "device": numerics.device,
        "device_name": device,
        "cores": os.cpu_count(),
        "workers": workers,
        "executor": executor,
        "threads_per_worker": 1,
        "data_sha256": data_sha256,
        "commit": _commit(),
    }


@cache
def installed_versions() -> Mapping[str, str]:
    """Return the versions of `VERSIONS_OF`: those of this process, which reads each package's record once."""
    return {name: version(name) for name in VERSIONS_OF}


def recorded_code(folder: RunFolder) -> tuple[str, str] | None:
    """Return the commit and the version of torch that a run was started with; None if its folder does not say."""
    try:
        told = reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES)
        commit, torch_version = told["commit"], told["versions"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (commit, torch_version) if isinstance(commit, str) and isinstance(torch_version, str) else None


def recorded_run(folder: RunFolder) -> str | None:
    """Return the id of a deployed run; None if its folder does not say."""
    try:
        told = reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES)
        found = told["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def recorded_images(folder: RunFolder) -> list[int]:
    """Return how many training images each client of a deployed run has, 0 if it never came; empty if nobody says."""
    try:
        told = reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES)
        found = told["images"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) and all(type(one) is int for one in found) else []


def with_all_images(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """Return the configuration of a run with the images that its clients have in all.

    Of a deployed run that was not known at its start, when the configuration was written.
    """
    images = recorded_images(folder)
    return config.model_copy(update={"max_train_images": sum(images)}) if images and 0 not in images else config


def note_images(folder: RunFolder, images: Sequence[int]) -> None:
    """Write down how many training images each client of a deployed run has, now that others have come.

    A file that is damaged is left as it is: no round depends on it.
    """
    try:
        told = dict(reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES))
    except (OSError, ValueError, TypeError):
        return
    write_atomic(folder.environment, (json.dumps({**told, "images": list(images)}, indent=2) + "\n").encode())


def recorded_data(folder: RunFolder) -> str:
    """Return the fingerprint of the data that a run was started with.

    Raises:
        RunError: environment.json is missing or damaged.
    """
    try:
        told = reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder.environment} is missing or damaged ({reading.reason(error)}): start again in a new --out folder"
        ) from None
    sha256 = told.get("data_sha256") if isinstance(told, dict) else None
    if not isinstance(sha256, str):
        raise RunError(
            f"{folder.environment} is missing or damaged (no data_sha256): start again in a new --out folder"
        )
    return sha256


@cache
def _commit() -> str | None:
    """Return the commit of the toolkit's own source when it runs from a git checkout.

    Asked once in a process: what is changed later is not the code that this process has loaded.
    """
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
