"""Trees of small images, and what is read of them."""

from pathlib import Path

import pytest
from PIL import Image

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.image_folder import load_image_folder
from dtfl_private.errors import InputError


def write(path: Path, shade: int, size: tuple[int, int] = (8, 8)) -> None:
    """Write an image of one shade, by which it can be told from all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path, format="PNG")


def shades(dataset: ImageDataset, part: str) -> list[int]:
    return getattr(dataset, f"{part}_images")[:, 0, 0, 0].tolist()


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        load_image_folder(data_dir=folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def split_tree(root: Path, *parts: str, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write two images of each class into each part; the shade tells the part: 0.., 100.., 200.."""
    for number, part in enumerate(parts):
        for label, name in enumerate(classes):
            for image in range(2):
                write(root / part / name / f"{image}.png", 100 * number + 10 * label + image)
    return root
