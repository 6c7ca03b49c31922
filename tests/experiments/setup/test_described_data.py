from dataclasses import replace

import pytest
import torch

from dtfl_private.data.dataset import FileTreatment
from dtfl_private.data.image_folder import load_image_folder
from dtfl_private.data.preprocess import AsTheyAre, Normaliser
from dtfl_private.data.text import load_sentences
from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.described_data import described
from dtfl_private.experiments.trained.trained_model import preprocessor_of


def test_what_normalises_is_rebuilt_bit_for_bit(patterns):
    for normaliser in (Normaliser.of(patterns), Normaliser.constant(patterns)):
        again = preprocessor_of(described(patterns, normaliser))
        assert torch.equal(again(patterns.test_images), normaliser(patterns.test_images))


def test_a_description_says_how_image_files_were_treated(patterns):
    plain = described(patterns, Normaliser.of(patterns))
    assert plain.classes == ("a", "b", "c")
    assert plain.input_shape == (1, 8, 8)
    assert plain.image_files.model_dump() == {
        "colour": "grey",
        "resized": False,
        "interpolation": "bilinear, antialiased",
        "background": None,
    }
    treated = replace(patterns, files=FileTreatment(resized=True, background="white"))
    assert (found := described(treated, Normaliser.of(treated)).image_files).resized
    assert found.background == "white"
    two = replace(
        patterns,
        train_images=patterns.train_images.repeat(1, 2, 1, 1),
        test_images=patterns.test_images.repeat(1, 2, 1, 1),
    )
    assert described(two, Normaliser.of(two)).image_files is None


def test_a_tree_of_images_knows_how_it_was_read(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 10 * number).save(tmp_path / "tree" / name / f"{number}.png")
    assert load_image_folder(data_dir=tmp_path / "tree").files == FileTreatment()
    for _ in range(2):  # decoded, then from the cache
        found = load_image_folder(data_dir=tmp_path / "tree", size=4, background="white").files
        assert found == FileTreatment(resized=True, background="white")


def test_tokens_are_described_without_anything_of_images():
    found = described(load_sentences(train=8, test=8), AsTheyAre())
    assert (found.kind, found.input_shape, found.mean, found.image_files) == ("tokens", (16,), (), None)


def test_names_that_cannot_be_kept_are_refused_before_training(patterns):
    with pytest.raises(InputError, match="data set patterns is refused: 2 classes are named 'a'"):
        described(replace(patterns, classes=("a", "a", "b")), Normaliser.of(patterns))
    with pytest.raises(InputError, match=r"data set patterns is refused: classes\.2: String should have at most 300"):
        described(replace(patterns, classes=("a", "b", "x" * 301)), Normaliser.of(patterns))
