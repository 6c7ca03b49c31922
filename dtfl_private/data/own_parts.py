"""Training or test images that a program holds: arrays with their labels, or a data set read item by item.

Hugging Face data sets are known by their ``features``: their package is not imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtfl_private.data.dataset import Dataset
from dtfl_private.data.files.pixels import MAX_DECODED_BYTES
from dtfl_private.data.own_labels import label_of, labels_of
from dtfl_private.data.own_pixels import Channels, Pixels, image_of, pixels_of
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name
from dtfl_private.protocol.contracts import IntArray

EXPECTED = (
    "expected (images, labels) as arrays, a torch.utils.data.Dataset of (image, label), a Hugging Face dataset with an "
    "image and a class label, or a dtfl_private.ImageDataset"
)

READ_AGAIN = 8
"""So many images are read twice: of random flips, all are the same by chance in 1 of 256 cases."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Training or test images: uint8 (N, C, H, W), int64 (N,), what is known of classes, what they came from."""

    pixels: Pixels
    labels: IntArray
    classes: Sequence[str] | None
    kind: str
    rounded: bool


@dataclass(frozen=True, kw_only=True)
class PartReader:
    """Reads training or test images, whatever they are."""

    channels: Channels | None
    columns: tuple[str, str] | None

    def part(self, data: Any, which: str) -> Part:
        """Return images and labels.

        Args:
            data: arrays or a data set.
            which: training or test.
        """
        if isinstance(data, Dataset):
            raise InputError(f"the {which} images are a {type(data).__name__}, which has both: pass it alone")
        if isinstance(data, tuple | list) and len(data) == 2 and is_array(data[0]):
            images, labels = data
            return self._of_arrays(images, labels, which)
        _require_items(data, which)
        return self._of_items(data, which)

    def _of_arrays(self, images: object, labels: object, which: str) -> Part:
        pixels, rounded = pixels_of(images, f"{which} images", self.channels)
        found = labels_of(labels, f"{which} labels", len(pixels))
        return Part(pixels=_some(pixels, which), labels=found, classes=None, kind="arrays", rounded=rounded)

    def _of_items(self, data: Any, which: str) -> Part:
        """Read a data set item by item."""
        count, columns = len(data), _columns(data, self.columns)
        if count == 0:
            raise InputError(f"there are no {which} images")
        shape = self._item(data, 0, columns, which)[0].shape
        if count * math.prod(shape) > MAX_DECODED_BYTES:
            size = f"{count:,} images of {'x'.join(map(str, shape))}"
            raise InputError(f"the {which} data are {size}: more than {MAX_DECODED_BYTES:,} bytes")
        pixels, labels, rounded = np.empty((count, *shape), np.uint8), np.empty(count, np.int64), False
        for place in range(count):
            image, labels[place], lost = self._item(data, place, columns, which)
            if image.shape != shape:
                shapes = " and ".join("x".join(map(str, one)) for one in (shape, image.shape))
                raise InputError(f"{which} images 0 and {place} differ in shape ({shapes}): resize them to one size")
            pixels[place], rounded = image, rounded or lost
        self._require_same(data, columns, which, pixels)
        checked = labels_of(labels, f"{which} labels", count)
        kind = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        return Part(pixels=pixels, labels=checked, classes=_named_classes(data, columns), kind=kind, rounded=rounded)

    def _require_same(self, data: Any, columns: tuple[str, str] | None, which: str, pixels: Pixels) -> None:
        """Raise `InputError` if images are others when they are read again, as random transforms make them."""
        for place in range(min(READ_AGAIN, len(pixels))):
            image, *_ = self._item(data, place, columns, which)
            if not np.array_equal(image, pixels[place]):
                raise InputError(
                    f"{which} image {place} is another one when it is read again: leave out random transforms, and "
                    "augment by the configuration, as augment=['crop', 'flip']"
                )

    def _item(self, data: Any, place: int, columns: tuple[str, str] | None, which: str) -> tuple[Pixels, int, bool]:
        """Return one image, its label, and whether the image was rounded."""
        what = f"{which} item {place}"
        try:
            item = data[place]
            image, label = item if columns is None else (item[columns[0]], item[columns[1]])
        except Exception as error:  # a data set is anybody's code and may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{what} is no (image, label), or cannot be read: {reason}") from error
        pixels, rounded = image_of(image, f"the image of {what}", self.channels)
        return pixels, label_of(label, f"the label of {what}"), rounded


def _require_items(data: Any, which: str) -> None:
    """Raise `InputError` if data have no length, or no items that can be read by their number."""
    kind = type(data).__name__
    if is_array(data):
        raise InputError(f"the {which} data are a {kind} without labels: give both, as (images, labels)")
    goes = hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    if isinstance(data, str | bytes | Mapping) or not goes:
        raise InputError(f"the {which} data are a {kind}, {EXPECTED}")
    streams = any(base.__name__ == "IterableDataset" for base in type(data).__mro__)
    if streams or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise InputError(
            f"the {which} data are a {kind}, which can only be gone through: give a map-style data set, with a length "
            "and items by number, or a list of (image, label)"
        )


def _some(pixels: Pixels, which: str) -> Pixels:
    if len(pixels) == 0:
        raise InputError(f"there are no {which} images")
    return pixels


def _features(data: Any) -> Mapping[str, Any] | None:
    """Return the features of a Hugging Face dataset; None of anything else."""
    found = getattr(data, "features", None)
    return found if isinstance(found, Mapping) else None


def _columns(data: Any, given: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return the columns of image and label of a Hugging Face dataset; None of anything else."""
    features = _features(data)
    if features is None:
        return None
    if given is not None:
        missing = [name for name in given if name not in features]
        if missing:
            raise InputError(f"the data have no column '{missing[0]}', but {', '.join(features)}")
        return given
    images, labels = _of_kind(features, "Image"), _of_kind(features, "ClassLabel")
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"the data have the columns {', '.join(map(short_name, features))}: name the image and the label, as "
            "columns=('image', 'label')"
        )
    return images[0], labels[0]


def _of_kind(features: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, feature in features.items() if type(feature).__name__ == kind]


def _named_classes(data: Any, columns: tuple[str, str] | None) -> Sequence[str] | None:
    """Return the names that a data set gives its classes: Hugging Face's ``names``, torchvision's ``classes``."""
    features = _features(data)
    names = getattr(data, "classes", None) if columns is None or features is None else None
    if features is not None and columns is not None:
        names = getattr(features[columns[1]], "names", None)
    return names if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else None


def is_array(thing: object) -> bool:
    """Whether something is an array or a tensor."""
    return hasattr(thing, "dtype") and hasattr(thing, "shape")
