import os

import pytest
from PIL import Image

from dtfl_private.data.files.image_files import IMAGES
from dtfl_private.errors import InputError
from dtfl_private.experiments.trained.found_files import find_files

CLASSES = ("cat", "dog", "odd\\xff")


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2)).save(path, format="PNG")


def found(root, *places):
    return {str(image.path.relative_to(root)): image.label for image in find_files(places, CLASSES, IMAGES)}


def test_the_innermost_folder_that_is_named_as_a_class_tells_the_class(tmp_path):
    for name in (
        "cat/1.png",
        "cat/dog/2.png",
        "other/3.png",
        "dog/deep/er/4.jpg",
        "5.png",
        "cat/.hidden.png",
        "cat/a.txt",
    ):
        put(tmp_path / name)
    expected = {"cat/1.png": 0, "cat/dog/2.png": 1, "other/3.png": None, "dog/deep/er/4.jpg": 1, "5.png": None}
    assert found(tmp_path, tmp_path) == expected
    assert found(tmp_path, tmp_path / "cat") == {"cat/1.png": 0, "cat/dog/2.png": 1}
    assert found(tmp_path, tmp_path / "cat" / "1.png", tmp_path / "5.png") == {"cat/1.png": 0, "5.png": None}


def test_a_folder_above_the_named_one_says_nothing(tmp_path):
    put(tmp_path / "cat" / "holidays" / "1.png")
    assert found(tmp_path, tmp_path / "cat" / "holidays") == {"cat/holidays/1.png": None}


def test_a_folder_whose_name_is_no_text_is_known_by_how_it_is_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"odd\xff")
    put(folder / "1.png")
    ((image),) = find_files([tmp_path], CLASSES, IMAGES)
    assert image.label == 2


def test_names_that_lead_nowhere_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'.*gone' does not exist: name images, files"):
        find_files([tmp_path / "gone"], CLASSES, IMAGES)
    with pytest.raises(InputError, match="holds no PNG or JPEG image"):
        find_files([tmp_path], CLASSES, IMAGES)
    with pytest.raises(InputError, match="no images are named"):
        find_files([], CLASSES, IMAGES)
