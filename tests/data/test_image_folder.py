from collections import Counter

import numpy as np
import pytest
from image_trees import refusal, shades, split_tree, write

from dtfl_private.data import image_folder
from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.files import image_files
from dtfl_private.data.image_folder import load_image_folder
from dtfl_private.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


def test_every_image_is_there_once_with_the_label_of_its_folder(tree):
    dataset = load_dataset("image-folder", data_dir=tree, download=False)
    assert dataset.classes == ("cat", "dog", "owl")
    assert dataset.input_shape == (3, 8, 8)
    assert sorted(shades(dataset, "train") + shades(dataset, "test")) == [
        *range(10),
        *range(100, 105),
        *range(200, 205),
    ]
    for part in ("train", "test"):
        labels = getattr(dataset, f"{part}_labels").tolist()
        assert labels == [shade // 100 for shade in shades(dataset, part)]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, [2, 1, 1]), (0.5, [5, 2, 2]), (0.01, [1, 1, 1]), (0.99, [9, 4, 4])]
)
def test_the_split_is_stratified_and_leaves_both_sides_something(tree, share, expected):
    dataset = load_image_folder(data_dir=tree, test=share)
    counts = Counter(dataset.test_labels.tolist())
    assert [counts[label] for label in range(3)] == expected


def test_the_split_does_not_depend_on_the_place_or_order_of_the_files(tree, tmp_path):
    first = load_image_folder(data_dir=tree)
    other = tmp_path / "elsewhere"
    for path in sorted(tree.rglob("*.png"), reverse=True):
        (other / path.relative_to(tree)).parent.mkdir(parents=True, exist_ok=True)
        path.rename(other / path.relative_to(tree))
    assert shades(load_image_folder(data_dir=other), "test") == shades(first, "test")


def test_a_new_file_moves_one_image_between_the_sides_at_most(tree):
    before = set(shades(load_image_folder(data_dir=tree), "test"))
    write(tree / "cat" / "new.png", 50)
    after = set(shades(load_image_folder(data_dir=tree), "test"))
    assert len(before ^ after) <= 2


@pytest.mark.parametrize(
    ("text", "shape"), [("grey=true", (1, 8, 8)), ("size=5", (3, 5, 5)), ("6,grey=yes", (1, 6, 6))]
)
def test_size_and_grey_are_settings(tree, text, shape):
    assert load_dataset(f"image-folder:{text}", data_dir=tree, download=False).input_shape == shape


def test_a_tree_may_bring_its_own_split(tmp_path):
    for part, shade in (("train", 10), ("train", 11), ("test", 20)):
        for label, name in enumerate(("a", "b")):
            write(tmp_path / "own" / part / name / f"{shade}.png", shade + 100 * label)
    dataset = load_image_folder(data_dir=tmp_path / "own")
    assert dataset.classes == ("a", "b")
    assert shades(dataset, "train") == [10, 11, 110, 111]
    assert shades(dataset, "test") == [20, 120]
    write(tmp_path / "own" / "test" / "c" / "1.png", 1)
    assert "has other class folders than" in refusal(tmp_path / "own")


def test_images_may_be_grouped_by_client(tmp_path):
    own = {"ann": {"a": 6, "b": 2}, "bob": {"b": 7}, "cy": {"a": 3}}
    for number, (client, classes) in enumerate(own.items()):
        for name, count in classes.items():
            for image in range(count):
                write(tmp_path / "own" / client / name / f"{image}.png", 80 * number + image)
    dataset = load_dataset("image-folder:by_client=true", data_dir=tmp_path / "own", download=False)
    assert dataset.classes == ("a", "b")
    assert dataset.client_ids is not None
    assert dataset.client_ids.tolist() == [shade // 80 for shade in shades(dataset, "train")]
    assert len(dataset.train_labels) + len(dataset.test_labels) == 18
    subset = dataset.with_train_images(5, np.random.default_rng(0))
    assert subset.client_ids is not None
    assert subset.client_ids.tolist() == [shade // 80 for shade in shades(subset, "train")]


def test_an_absent_folder_is_answered_by_what_it_should_be(tmp_path):
    assert refusal(tmp_path / "none").startswith(f"no image-folder in {tmp_path / 'none'}: name by --data-dir the")
    with pytest.raises(InputError, match="image-folder needs --data-dir: name by --data-dir the folder that"):
        load_image_folder()


def test_a_class_of_one_image_cannot_be_split(tree):
    write(tree / "emu" / "1.png", 1)
    assert refusal(tree) == "emu/1.png is the only image of class 'emu': training and test need one each"


@pytest.mark.parametrize("classes", [[], ["cat"]])
def test_fewer_than_two_classes_are_refused(tmp_path, classes):
    for name in classes:
        write(tmp_path / "few" / name / "1.png", 1)
    (tmp_path / "few").mkdir(exist_ok=True)
    assert refusal(tmp_path / "few").startswith(f"{tmp_path / 'few'} has {len(classes)} class folders, expected two")
    assert "class folders, expected two" in refusal(tmp_path / "few", by_client=True)


def test_a_linked_class_folder_is_a_class(tree, tmp_path):
    (tree / "owl").rename(tmp_path / "owls")
    (tree / "owl").symlink_to(tmp_path / "owls")
    assert 200 in shades(load_image_folder(data_dir=tree, test=0.2), "train")


def test_the_fact_sheet_counts_folders_without_opening_images(tree, monkeypatch):
    monkeypatch.setattr(image_files, "decode_all", None)
    assert image_folder.FACTS.look(tree) == f"{tree}: 3 folders"
    assert image_folder.FACTS.look(tree / "none") is None
    assert image_folder.FACTS.look(None) is None


@pytest.mark.parametrize(
    "parts",
    [("train", "test"), ("Train", "Test"), ("training", "testing"), ("TRAINING", "Val"), ("train", "validation")],
)
def test_a_split_is_read_under_the_names_that_splits_have(tmp_path, parts):
    dataset = load_image_folder(data_dir=split_tree(tmp_path / "tree", *parts))
    assert dataset.classes == ("cat", "dog")
    assert sorted(shades(dataset, "train")) == [0, 1, 10, 11]
    assert sorted(shades(dataset, "test")) == [100, 101, 110, 111]
    without_test = not any(part.casefold().startswith("test") for part in parts)
    assert dataset.notes[1:] == (
        (f"there is no test folder: the images of {parts[1]} are the test images",) * without_test
    )


def test_validation_images_next_to_test_images_are_left_out_or_joined(tmp_path):
    tree = split_tree(tmp_path / "tree", "train", "val", "test")
    left_out, joined = load_image_folder(data_dir=tree), load_image_folder(data_dir=tree, valid="join")
    assert max(shades(left_out, "train")) < 100
    assert sorted(shades(joined, "train")) == [0, 1, 10, 11, 100, 101, 110, 111]
    assert min(shades(left_out, "test")) == min(shades(joined, "test")) == 200
    assert left_out.notes[1:] == ("the 4 images of val are left out; valid=join trains on them too",)
    assert joined.notes[1:] == ("the images of val are joined to the training images",)


def test_parts_of_a_split_with_other_classes_are_refused(tmp_path):
    tree = split_tree(tmp_path / "tree", "train", "val")
    write(tree / "val" / "owl" / "0.png", 9)
    assert refusal(tree) == f"{tree / 'val'} has other class folders than {tree / 'train'}: give both the same"


def test_a_split_with_something_next_to_it_or_twice_is_refused(tmp_path):
    tree = split_tree(tmp_path / "tree", "train", "test", "unlabelled")
    assert refusal(tree).startswith(f"{tree} holds a split (test, train) and next to it unlabelled: move that away")
    twice = split_tree(tmp_path / "twice", "train", "Train", "test")
    assert refusal(twice).startswith(f"{twice} has two folders for one part of a split (Train, test, train)")


def test_folders_that_look_like_a_split_are_no_classes(tmp_path):
    tree = split_tree(tmp_path / "tree", "train", "holdout")
    message = refusal(tree)
    assert message.startswith(f"the folders of {tree} (holdout, train) all hold the same folders (cat, dog)")
    assert "by_client=true" in message
    assert len(load_image_folder(data_dir=tree, by_client=True).client_ids) > 0
    # A word of a split is a class like any other, as long as it stands alone; so is a class with folders of its own.
    write(tree / "holdout" / "owl" / "0.png", 7)
    assert load_image_folder(data_dir=tree).classes == ("holdout", "train")
    one_each = split_tree(tmp_path / "one", "a", "b", classes=("images",))
    assert load_image_folder(data_dir=one_each).classes == ("a", "b")


def test_clients_are_not_taken_from_a_split(tmp_path):
    tree = split_tree(tmp_path / "tree", "train", "test")
    assert "with by_client its folders are clients" in refusal(tree, by_client=True)


def test_the_classes_that_were_found_are_said(tree, tmp_path):
    assert load_image_folder(data_dir=tree).notes == ("3 classes: cat, dog, owl",)
    for number in range(22):
        for image in range(2):
            write(tmp_path / "many" / f"{number:02d}" / f"{image}.png", image)
    (note,) = load_image_folder(data_dir=tmp_path / "many").notes
    assert note.startswith("22 classes: 00, 01, ")
    assert note.endswith(", 19 and 2 more")
