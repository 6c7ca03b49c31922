"""What is known of a data set without loading it: what ``list datasets`` shows, and how to get absent data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dtfl_private.errors import InputError

Loader = TypeVar("Loader", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """The fact sheet of a loader.

    title: the data set's own name.
    shape: of one example, as in "3x32x32"; S stands for a side that the user chooses.
    classes, train, test: how many, in words where a setting decides.
    obtain: how to get the data, the end of the line that answers their absence.
    look: return where the data are, given ``--data-dir``, or None. It opens no image and must be quick.
    """

    title: str
    shape: str
    classes: str
    train: str
    test: str
    obtain: str
    look: Callable[[Path | None], str | None]

    def absent(self, folder: Path | None) -> InputError:
        """Return the error for data that are not in a folder, or for a folder that was not named."""
        if folder is None:
            return InputError(f"{self.title} needs --data-dir: {self.obtain}")
        return InputError(f"no {self.title} in {folder}: {self.obtain}")


def described_by(facts: DatasetFacts) -> Callable[[Loader], Loader]:
    """Attach a fact sheet to a loader. A loader without one works and is listed all the same."""

    def attach(loader: Loader) -> Loader:
        loader.__dict__["facts"] = facts
        return loader

    return attach


def facts_of(loader: object) -> DatasetFacts | None:
    """Return the fact sheet of a loader, or None if it has none."""
    facts = getattr(loader, "facts", None)
    return facts if isinstance(facts, DatasetFacts) else None


def first_folder_with(name: str, *folders: Path) -> Path | None:
    """Return the first folder that holds an entry of this name."""
    return next((folder for folder in folders if (folder / name).exists()), None)
