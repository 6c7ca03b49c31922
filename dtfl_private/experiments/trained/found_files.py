"""The files that a user names to predict: files as they are, folders with all of their kind that is below them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dtfl_private.data.description import class_name
from dtfl_private.data.files.found_files import FileKind, files_below
from dtfl_private.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file that holds one image or one text.

    Attributes:
        path: where it is.
        label: number of the class that its folder is named as; None where it is named as no class.
    """

    path: Path
    label: int | None


def find_files(places: Iterable[Path | str], classes: Sequence[str], kind: FileKind) -> list[FoundFile]:
    """Return the files among those named and below folders, in the order given, those of a folder sorted by name.

    The innermost folder that is named as a class tells a file's class: the folder that the user named, one below it,
    or of a file the one that it lies in.

    Raises:
        InputError: nothing is named, or a name leads nowhere or to a folder without files of the kind.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    found: list[FoundFile] = []
    for place in map(Path, places):
        if place.is_dir():
            found += _below(place, numbers, kind)
        elif place.exists():
            found.append(FoundFile(path=place, label=numbers.get(class_name(place.absolute().parent.name))))
        else:
            raise InputError(f"'{place}' does not exist: name {kind.many}, files or folders of them")
    if not found:
        raise InputError(f"no {kind.many} are named: give files, or folders of them")
    return found


def _below(root: Path, numbers: Mapping[str, int], kind: FileKind) -> list[FoundFile]:
    own = numbers.get(class_name(root.absolute().name))
    found = []
    for file in files_below(root, "", 0, kind=kind):
        folders = map(class_name, reversed(PurePosixPath(file.name).parent.parts))
        label = next((numbers[name] for name in folders if name in numbers), own)
        found.append(FoundFile(path=root / file.name, label=label))
    return found
