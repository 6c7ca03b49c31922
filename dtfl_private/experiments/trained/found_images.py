"""The image files that a user names: files as they are, folders with all that is below them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dtfl_private.data.description import class_name
from dtfl_private.data.files.image_files import images_below
from dtfl_private.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image file.

    Attributes:
        path: where it is.
        label: number of the class that its folder is named as; None where it is named as no class.
    """

    path: Path
    label: int | None


def find_images(places: Iterable[Path | str], classes: Sequence[str]) -> list[FoundImage]:
    """Return the images among files and below folders, in the order given, those of a folder sorted by name.

    The innermost folder that is named as a class tells an image's class: the folder that the user named, one below it,
    or of a file the one that it lies in.

    Raises:
        InputError: nothing is named, or a name leads nowhere or to a folder without images.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    found: list[FoundImage] = []
    for place in map(Path, places):
        if place.is_dir():
            found += _below(place, numbers)
        elif place.exists():
            found.append(FoundImage(path=place, label=numbers.get(class_name(place.absolute().parent.name))))
        else:
            raise InputError(f"'{place}' does not exist: name image files, or folders of them")
    if not found:
        raise InputError("no images are named: give image files, or folders of them")
    return found


def _below(root: Path, numbers: Mapping[str, int]) -> list[FoundImage]:
    own = numbers.get(class_name(root.absolute().name))
    found = []
    for file in images_below(root, "", 0):
        folders = map(class_name, reversed(PurePosixPath(file.name).parent.parts))
        label = next((numbers[name] for name in folders if name in numbers), own)
        found.append(FoundImage(path=root / file.name, label=label))
    return found
