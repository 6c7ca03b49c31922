"""A run folder: what is in it, written so that a crash at any moment leaves it readable and resumable."""

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from dtfl_private.errors import InputError, RunError
from dtfl_private.files import reading
from dtfl_private.files.writing import sync_folder, write_atomic, write_synced
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import State
from dtfl_private.training.record import Record

_RECORD = TypeAdapter(Record)

# Sizes beyond which a file of a run folder is not read.
LARGEST_ENVIRONMENT_BYTES = 2**20
LARGEST_SUMMARY_BYTES = 2**26
LARGEST_RECORDS_BYTES = 2**29
# Of one line of it: a round of half a million clients.
LARGEST_RECORD_BYTES = 2**26

VERSIONS_OF = ("dtfl-private", "torch", "torchvision", "numpy", "scikit-learn", "safetensors", "pydantic")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The paths of a run folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions, device and commit of the run's start."""
        return self.path / "environment.json"

    @property
    def audit(self) -> Path:
        """What an audit of the run found, unless it was told to leave that elsewhere."""
        return self.path / "audit" / "audit.json"

    @property
    def rounds(self) -> Path:
        """One JSON object per finished round."""
        return self.path / "rounds.jsonl"

    @property
    def summary(self) -> Path:
        """The last round's figures, the best accuracy, time to target."""
        return self.path / "summary.json"

    @property
    def model(self) -> Path:
        """The global model."""
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        """What a resume needs."""
        return self.path / "checkpoint"

    @property
    def transcript(self) -> Path:
        """What the server saw of recorded rounds, and apart from it the ground truth."""
        return self.path / "transcript"

    @property
    def attacks(self) -> Path:
        """What attacks found, and their unfinished work."""
        return self.path / "attacks"

    @property
    def plot(self) -> Path:
        """Picture of the run's course."""
        return self.path / "training.png"


def require_name(path: Path) -> None:
    """Raise `InputError` if a run folder could not be made under a path because it ends in no name."""
    if path.name in ("", ".."):
        raise InputError(f"run folder '{path}' cannot be made: it needs a name of its own")


def create_run_folder(path: Path, config_toml: str, environment: Mapping[str, Any]) -> RunFolder:
    """Make a new run folder with its configuration; it appears complete or not at all.

    Raises:
        InputError: the folder cannot be made there.
    """
    require_name(path)
    draft = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a killed process that had the same number
    try:
        draft.mkdir(parents=True)
        write_synced(draft / "config.toml", config_toml.encode())
        write_synced(draft / "environment.json", (json.dumps(environment, indent=2) + "\n").encode())
        sync_folder(draft)
        draft.rename(path)
        sync_folder(path.parent)
    except (OSError, UnicodeEncodeError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"run folder '{path}' cannot be made: {reason}") from None
    return RunFolder(path=path)


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Hold a run folder for this process, so that two runs cannot write into it (POSIX only)."""
    if os.name != "posix":
        yield
        return
    import fcntl  # POSIX only

    descriptor = os.open(folder.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"run folder '{folder.path}' is in use by another process: wait, or choose another --out"
            ) from None
        yield
    finally:
        os.close(descriptor)


def describe_environment(numerics: Numerics, workers: int, data_sha256: str) -> dict[str, Any]:
    """Return what a reader needs to judge a run's figures: versions, device, threads, data, commit if known."""
    device = torch.cuda.get_device_name() if numerics.device == "cuda" else platform.processor() or platform.machine()
    return {
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in VERSIONS_OF},
        "platform": platform.platform(),
        "device": numerics.device,
        "device_name": device,
        "cores": os.cpu_count(),
        "workers": workers,
        "threads_per_worker": 1,
        "data_sha256": data_sha256,
        "commit": _commit(),
    }


def recorded_code(folder: RunFolder) -> tuple[str, str] | None:
    """Return the commit and the version of torch that a run was started with; None if its folder does not say."""
    try:
        told = reading.read_json(folder.environment, most_bytes=LARGEST_ENVIRONMENT_BYTES)
        commit, torch_version = told["commit"], told["versions"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (commit, torch_version) if isinstance(commit, str) and isinstance(torch_version, str) else None


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


def has_ended(folder: RunFolder) -> bool:
    """Whether the summary says that the run ended as configured: after its last round, or because it was to stop."""
    return _summary(folder).get("finished") is True


def final_accuracy(folder: RunFolder) -> float:
    """Return the test accuracy after a run's last round, as its summary says.

    Raises:
        RunError: the summary is missing or damaged.
    """
    accuracy = _summary(folder).get("final_accuracy")
    if not isinstance(accuracy, float | int) or not 0 <= accuracy <= 1:
        raise RunError(f"{folder.summary} is missing or damaged: it names no final accuracy from 0 to 1")
    return float(accuracy)


def _summary(folder: RunFolder) -> dict[str, Any]:
    try:
        summary = reading.read_json(folder.summary, most_bytes=LARGEST_SUMMARY_BYTES)
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _commit() -> str | None:
    """Return the commit of the toolkit's own source when it runs from a git checkout."""
    source = Path(__file__).resolve().parents[2]
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


def require_no_links(folder: RunFolder) -> None:
    """Check that nothing would be written through a link: the run folder may be anybody's.

    Raises:
        InputError: naming the first link among what train, attack and audit write to.
    """
    for place in (folder.rounds, folder.checkpoint, folder.transcript, folder.attacks, folder.audit.parent):
        below = (Path(top) / name for top, folders, files in os.walk(place) for name in (*folders, *files))
        for path in itertools.chain([place], below):
            if path.is_symlink():
                raise InputError(
                    f"'{path}' is a link, through which nothing is written: put in its place what it holds"
                )


def append_record(folder: RunFolder, record: Record) -> None:
    """Append one line to rounds.jsonl and wait until it is on the disk."""
    with folder.rounds.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(folder: RunFolder) -> tuple[list[Record], str | None]:
    """Return the whole lines of rounds.jsonl, and a remark when the last line is torn.

    Raises:
        RunError: a line before the last one is damaged.
    """
    if not folder.rounds.exists():
        return [], None
    records: list[Record] = []
    try:
        for number, line in enumerate(_lines(folder.rounds), start=1):
            if not line.endswith(b"\n"):
                return records, f"the last line of {folder.rounds.name} was torn and is dropped"
            records.append(_checked_record(folder, number, line))
    except (OSError, ValueError) as error:
        reason = reading.reason(error)
        raise RunError(f"{folder.rounds} cannot be read ({reason}): start again in a new --out folder") from None
    return records, None


def _lines(path: Path) -> Iterator[bytes]:
    """Yield a file's lines, one at a time: a damaged one ends the reading before the next is in memory."""
    with reading.open_regular(path, most_bytes=LARGEST_RECORDS_BYTES) as file:
        while line := file.readline(LARGEST_RECORD_BYTES + 1):
            if len(line) > LARGEST_RECORD_BYTES:
                raise ValueError(f"a line of more than {LARGEST_RECORD_BYTES // 2**20} MiB")
            yield line


def _checked_record(folder: RunFolder, number: int, line: bytes) -> Record:
    try:
        record = _RECORD.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(_damaged(folder, number, f"{where} {first['msg']}".strip())) from None
    if record["round"] != number:
        raise RunError(_damaged(folder, number, f"it is of round {record['round']}"))
    return record


def _damaged(folder: RunFolder, line: int, reason: str) -> str:
    return f"{folder.rounds} is damaged in line {line} ({reason}): start again in a new --out folder"


def keep_records(folder: RunFolder, records: Sequence[Record]) -> None:
    """Rewrite rounds.jsonl with these records only, in one step."""
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    write_atomic(folder.rounds, text.encode())


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
        "target_accuracy": target_accuracy,
        "rounds_to_target": hit["round"] if hit else None,
        "time_to_target_s": hit["virtual_time_s"] if hit else None,
        "virtual_time_s": last["virtual_time_s"],
        "wall_time_s": round(sum(record["wall_time_s"] for record in records), 3),
        "bytes": _totals([record["bytes"] for record in records]),
        "macs": _totals([record["macs"] for record in records]),
        "last_round": last,
    }


def _totals(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    # Rounds of an earlier version, which a resume has gone on from, lack the kinds that it did not know.
    return {kind: sum(count.get(kind, 0) for count in counts) for kind in counts[-1]}


def write_results(folder: RunFolder, model: State, summary: Mapping[str, Any], description: Mapping[str, str]) -> None:
    """Write the global model and the summary, each in one step."""
    tensors = {name: tensor.contiguous() for name, tensor in model.items()}
    # One key only: safetensors writes several in a random order, and equal runs are to leave equal files.
    metadata = {"run": json.dumps(dict(description))}
    write_atomic(folder.model, safetensors.torch.save(tensors, metadata=metadata))
    write_atomic(folder.summary, (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
