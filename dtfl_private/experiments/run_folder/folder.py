"""A run folder: what is in it, written so that a crash at any moment leaves it readable and resumable."""

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.errors import InputError, RunError
from dtfl_private.files.writing import new_folder, write_synced


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
    def dataset(self) -> Path:
        """What must be known of the data to use the network: classes, normalisation, how images are made."""
        return self.path / "dataset.json"

    @property
    def tokenizer(self) -> Path:
        """What made tokens of texts, in Hugging Face's layout; only of runs on texts."""
        return self.path / "tokenizer.json"

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
    def sessions(self) -> Path:
        """Which clients are connected, as of the server's last change; only of deployed runs."""
        return self.path / "sessions.json"

    @property
    def model(self) -> Path:
        """The global model."""
        return self.path / "model.safetensors"

    @property
    def best_model(self) -> Path:
        """The global model after the round that is best on validation images; only of runs with such images."""
        return self.path / "best.safetensors"

    @property
    def card(self) -> Path:
        """The model card: what the network is, for people."""
        return self.path / "README.md"

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

    @property
    def test_plot(self) -> Path:
        """Picture of how the run does on test images: by class, and how well its confidence is calibrated."""
        return self.path / "test.png"


def require_name(path: Path) -> None:
    """Raise `InputError` if a run folder could not be made under a path because it ends in no name."""
    if path.name in ("", ".."):
        raise InputError(f"run folder '{path}' cannot be made: it needs a name of its own")


def create_run_folder(
    path: Path,
    config_toml: str,
    environment: Mapping[str, Any],
    dataset: bytes | None = None,
    tokenizer: str | None = None,
) -> RunFolder:
    """Make a new run folder with its configuration; it appears complete or not at all.

    Args:
        path: of the folder.
        config_toml: the configuration.
        environment: what made the run.
        dataset: the text of dataset.json.
        tokenizer: the text of tokenizer.json.

    Raises:
        InputError: the folder cannot be made there.
    """
    require_name(path)
    with new_folder(path, f"run folder '{path}' cannot be made") as draft:
        write_synced(draft / "config.toml", config_toml.encode())
        write_synced(draft / "environment.json", (json.dumps(environment, indent=2) + "\n").encode())
        if dataset is not None:
            write_synced(draft / "dataset.json", dataset)
        if tokenizer is not None:
            write_synced(draft / "tokenizer.json", tokenizer.encode())
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


def in_use(folder: RunFolder) -> bool | None:
    """Whether a process holds a run folder (see `locked`); None where the system cannot say."""
    if os.name != "posix":
        return None
    import fcntl  # POSIX only

    try:
        descriptor = os.open(folder.path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)  # which gives up the lock, too
    return False


def require_no_links(folder: RunFolder) -> None:
    """Check that nothing would be written through a link: the run folder may be anybody's.

    Raises:
        InputError: naming the first link among what train, attack and audit write to.
    """
    require_no_links_below(folder.rounds, folder.checkpoint, folder.transcript, folder.attacks, folder.audit.parent)


def require_no_links_below(*places: Path) -> None:
    """Check that these files and folders, and all that lies in them, are no links.

    Raises:
        InputError: naming the first link.
    """
    for place in places:
        below = (Path(top) / name for top, folders, files in os.walk(place) for name in (*folders, *files))
        for path in itertools.chain([place], below):
            if path.is_symlink():
                raise InputError(
                    f"'{path}' is a link, through which nothing is written: put in its place what it holds"
                )


@contextmanager
def disk_refusals_named(folder: RunFolder) -> Iterator[None]:
    """Say of a disk that refuses what is written that it does."""
    try:
        yield
    except OSError as error:
        raise RunError(f"run folder '{folder.path}' cannot be written: {error}; mend that, then --resume") from None
