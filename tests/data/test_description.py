import json

import pytest
from pydantic import ValidationError

from dtfl_private.data.description import (
    DataDescription,
    ImageFileDescription,
    class_name,
    read_description,
)
from dtfl_private.errors import InputError, RunError

IMAGES = {
    "name": "photos",
    "kind": "images",
    "classes": ["cat", "dog"],
    "input_shape": [3, 8, 6],
    "mean": [0.1, 0.2, 0.3],
    "std": [1 / 3, 1e-6, 1.0],
    "image_files": {"colour": "rgb", "resized": True, "background": "white"},
}


def test_a_description_comes_back_as_it_was_to_the_last_digit(tmp_path):
    description = DataDescription.model_validate(IMAGES)
    path = tmp_path / "dataset.json"
    path.write_bytes(description.document())
    assert read_description(path) == description
    assert read_description(path).std == (1 / 3, 1e-6, 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"std": [0.1, 0.0, 0.1]}, "images cannot be normalised by mean 0.2 and deviation 0"),
        ({"std": [0.1, -1.0, 0.1]}, "images cannot be normalised"),
        ({"std": [0.1, 5e-324, 0.1]}, "images cannot be normalised"),
        ({"mean": [0.1, 1e300, 0.1]}, "images cannot be normalised"),
        ({"mean": [0.1, float("nan"), 0.1]}, "mean.1: Input should be a finite number"),
        ({"std": [float("inf")] * 3}, "std.0: Input should be a finite number"),
        ({"mean": [0.1]}, "1 means and 3 deviations for 3 channels"),
        ({"mean": [], "std": []}, "0 means and 0 deviations for 3 channels"),
        ({"classes": []}, "classes: "),
        ({"classes": ["a", "b", "a"]}, "2 classes are named 'a': give each a name of its own"),
        ({"classes": ["x" * 301]}, "classes.0: String should have at most 300 characters"),
        ({"classes": [str(n) for n in range(100_001)]}, "classes: Tuple should have at most 100000 items"),
        ({"input_shape": [3, 8]}, r"images of shape \(3, 8\)"),
        ({"input_shape": [3, 0, 8]}, "input_shape.1: "),
        ({"input_shape": [3, 65536, 65536]}, r"inputs of shape \(3, 65536, 65536\) have more than 16,777,216 values"),
        ({"input_shape": [1, 8, 8], "mean": [0.1], "std": [0.1]}, "rgb image files for inputs of shape"),
        ({"kind": "tokens"}, "tokens of shape"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"surplus": 1}, "surplus: Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_damaged(tmp_path, change, said):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({**IMAGES, **change}))
    with pytest.raises(RunError, match=f"dataset.json is damaged \\({said}") as error:
        read_description(path)
    assert "train --resume --out" in str(error.value)


def test_files_that_are_no_description_are_damaged_and_absent_ones_absent(tmp_path):
    path = tmp_path / "dataset.json"
    with pytest.raises(FileNotFoundError):
        read_description(path)
    for data in (b"", b"[", b"\xff\xfe", b'{"classes": ["\\ud800"]}', b"[" * 10_000):
        path.write_bytes(data)
        with pytest.raises(RunError, match="is damaged"):
            read_description(path)


def test_image_files_are_for_networks_of_images_in_grey_or_colour():
    assert DataDescription.model_validate(IMAGES).require_image_files().resized
    tokens = DataDescription(name="t", kind="tokens", classes=("a",), input_shape=(5,))
    with pytest.raises(InputError, match="takes sequences of 5 tokens, not images"):
        tokens.require_image_files()
    four = DataDescription(
        name="t", kind="images", classes=("a",), input_shape=(4, 2, 2), mean=(0.5,) * 4, std=(0.5,) * 4
    )
    with pytest.raises(InputError, match="takes images of 4 channels, not image files"):
        four.require_image_files()
    with pytest.raises(ValidationError):
        ImageFileDescription(colour="cmyk", resized=False)


def test_a_name_that_is_no_text_is_spelled_out():
    assert class_name("cät") == "cät"
    assert class_name("odd\udcff").encode() == b"odd\\xff"
