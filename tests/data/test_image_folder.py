import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtfl_private.data import image_folder
from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.data.files import image_files, pixels
from dtfl_private.data.files.image_files import chosen_for_test
from dtfl_private.data.image_folder import load_image_folder
from dtfl_private.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path: Path, shade: int, size: tuple[int, int] = (8, 8)) -> None:
    """Write an image of one shade, by which it can be told from all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path, format="PNG")


@pytest.fixture
def tree(tmp_path) -> Path:
    """Three classes of 10, 5 and 5 images; shades 0..9 are cats, 100..104 dogs, 200..204 owls."""
    for name, first, count in (("cat", 0, 10), ("dog", 100, 5), ("owl", 200, 5)):
        for number in range(count):
            write(tmp_path / "tree" / name / f"{number}.png", first + number)
    return tmp_path / "tree"


def shades(dataset: ImageDataset, part: str) -> list[int]:
    return getattr(dataset, f"{part}_images")[:, 0, 0, 0].tolist()


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        load_image_folder(data_dir=folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


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


def test_the_test_share_is_unrelated_to_the_names():
    names = [f"image{number:05d}" for number in range(10_000)]
    chosen = chosen_for_test(names, 0.2)
    assert len(chosen) == 2000
    # The mean place of 2000 out of 10,000 has a standard deviation of 58.
    assert abs(np.mean([names.index(name) for name in chosen]) - 4999.5) < 6 * 58


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


def test_subfolders_are_searched_and_hidden_files_and_other_kinds_are_left_out(tree):
    write(tree / "cat" / "more" / "deep" / "50.jpeg", 50)
    write(tree / "cat" / "51.PNG", 51)
    for junk in (".hidden.png", "._0.png", "notes.txt", "Thumbs.db", ".more/1.png"):
        (tree / "cat" / junk).parent.mkdir(exist_ok=True)
        (tree / "cat" / junk).write_bytes(b"no image")
    (tree / ".git").mkdir()
    (tree / "list.csv").touch()
    dataset = load_image_folder(data_dir=tree)
    seen = sorted(shades(dataset, "train") + shades(dataset, "test"))
    assert seen == [*range(10), 50, 51, *range(100, 105), *range(200, 205)]


# The cache.


def test_images_come_from_the_cache_until_a_file_changes(tree, cache, monkeypatch):
    first = load_image_folder(data_dir=tree)
    assert len(list(cache.iterdir())) == 2
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "decode_all", None)
        again = load_image_folder(data_dir=tree)
        assert again.fingerprint() == first.fingerprint()
        # The same folder by another path is the same entry.
        patch.chdir(tree.parent)
        assert load_image_folder(data_dir=Path("tree")).fingerprint() == first.fingerprint()
    write(tree / "cat" / "0.png", 60)
    os.utime(tree / "cat" / "0.png", ns=(1, 1))
    changed = load_image_folder(data_dir=tree)
    assert 60 in shades(changed, "train") + shades(changed, "test")
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("settings", [{"size": 4}, {"grey": True}, {"test": 0.5}])
def test_other_settings_never_meet_the_wrong_images(tree, settings):
    def described(dataset: ImageDataset) -> tuple[object, ...]:
        return dataset.input_shape, shades(dataset, "train"), shades(dataset, "test")

    one, other = described(load_image_folder(data_dir=tree)), described(load_image_folder(data_dir=tree, **settings))
    assert one != other
    assert described(load_image_folder(data_dir=tree)) == one
    assert described(load_image_folder(data_dir=tree, **settings)) == other


def test_a_renamed_class_changes_labels_though_the_pixels_are_cached(tree):
    load_image_folder(data_dir=tree)
    (tree / "cat").rename(tree / "zebra")
    dataset = load_image_folder(data_dir=tree)
    assert dataset.classes == ("dog", "owl", "zebra")
    assert dataset.train_labels.tolist() == [{0: 2, 1: 0, 2: 1}[shade // 100] for shade in shades(dataset, "train")]


# What is wrong is named, and nothing is cached.


def test_an_absent_folder_is_answered_by_what_it_should_be(tmp_path):
    assert refusal(tmp_path / "none").startswith(f"no image-folder in {tmp_path / 'none'}: name by --data-dir the")
    with pytest.raises(InputError, match="image-folder needs --data-dir: name by --data-dir the folder that"):
        load_image_folder()


def damage(tree: Path, name: str) -> str:
    """Do one of the damages below; return what must be said."""
    victim = tree / "dog" / "3.png"
    if name == "corrupt":
        victim.write_bytes(victim.read_bytes()[:40])
    elif name == "text":
        victim.write_text("no image")
    elif name == "CMYK":
        Image.new("CMYK", (8, 8)).save(victim, format="JPEG")
    elif name == "16 bits":
        Image.new("I;16", (8, 8)).save(victim)
    elif name == "size":
        write(victim, 1, (8, 9))
    elif name == "loop":
        victim.unlink()
        victim.symlink_to(victim)
    elif name == "dangling":
        victim.unlink()
        victim.symlink_to(tree / "gone.png")
    return str(victim)


@pytest.mark.parametrize("name", ["corrupt", "text", "CMYK", "16 bits", "size", "loop", "dangling"])
def test_a_bad_file_is_named_and_nothing_is_cached(tree, cache, name):
    named = damage(tree, name)
    assert refusal(tree).startswith(named)
    assert not cache.exists()


def test_a_bad_file_leaves_the_old_entry_in_peace(tree, cache):
    load_image_folder(data_dir=tree)
    before = {path: path.read_bytes() for path in cache.iterdir()}
    damage(tree, "corrupt")
    refusal(tree)
    assert {path: path.read_bytes() for path in cache.iterdir()} == before


def test_an_empty_class_folder_is_named(tree, cache):
    (tree / "emu").mkdir()
    (tree / "emu" / "notes.txt").touch()
    assert refusal(tree).startswith(f"{tree / 'emu'} holds no PNG or JPEG image: ")
    assert not cache.exists()


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


def test_links_to_folders_end_in_no_loop(tree):
    (tree / "cat" / "again").symlink_to(tree / "cat")
    dataset = load_image_folder(data_dir=tree)
    assert len(dataset.train_labels) + len(dataset.test_labels) == 20
    (tree / "self").symlink_to(tree)
    assert refusal(tree) == f"{tree / 'self'} is a link to a folder that it lies in itself: remove it"


def test_a_linked_class_folder_is_a_class(tree, tmp_path):
    (tree / "owl").rename(tmp_path / "owls")
    (tree / "owl").symlink_to(tmp_path / "owls")
    assert 200 in shades(load_image_folder(data_dir=tree, test=0.2), "train")


@pytest.mark.parametrize("victim", ["", "dog"])
def test_a_folder_without_permission_is_named(tree, cache, victim, monkeypatch):
    scandir = os.scandir

    def guarded(path: object) -> object:
        if Path(str(path)) == tree / victim:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # the tests may run as root, whom no permission stops
    assert refusal(tree).startswith(f"{tree / victim} cannot be read (Permission denied)")
    assert not cache.exists()


def test_the_fact_sheet_counts_folders_without_opening_images(tree, monkeypatch):
    monkeypatch.setattr(image_files, "decode_all", None)
    assert image_folder.FACTS.look(tree) == f"{tree}: 3 folders"
    assert image_folder.FACTS.look(tree / "none") is None
    assert image_folder.FACTS.look(None) is None


def test_each_choice_of_settings_has_an_entry_of_its_own(tree, cache, monkeypatch):
    choices = [{}, {"size": 4}, {"grey": True}, {"test": 0.5}]
    for settings in choices:
        load_image_folder(data_dir=tree, **settings)
    assert len(list(cache.glob("*.json"))) == len(choices)
    monkeypatch.setattr(image_files, "decode_all", None)
    for settings in choices:
        load_image_folder(data_dir=tree, **settings)


def split_tree(root: Path, *parts: str, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write two images of each class into each part; the shade tells the part: 0.., 100.., 200.."""
    for number, part in enumerate(parts):
        for label, name in enumerate(classes):
            for image in range(2):
                write(root / part / name / f"{image}.png", 100 * number + 10 * label + image)
    return root


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


def test_what_servers_and_archivers_leave_behind_is_no_class(tree):
    write(tree / "@eaDir" / "0.png", 70)
    write(tree / "cat" / "@eaDir" / "0.png" / "thumb.png", 71)
    write(tree / "__MACOSX" / "cat" / "0.png", 72)
    dataset = load_image_folder(data_dir=tree)
    assert dataset.classes == ("cat", "dog", "owl")
    assert not {70, 71, 72} & {*shades(dataset, "train"), *shades(dataset, "test")}


def test_a_tree_is_followed_so_many_levels_and_no_more(tree):
    deep = Path("cat", *["d"] * image_files.MOST_LEVELS)
    write(tree / deep / "0.png", 77)
    dataset = load_image_folder(data_dir=tree)
    assert 77 in {*shades(dataset, "train"), *shades(dataset, "test")}
    write(tree / deep / "d" / "0.png", 78)
    assert refusal(tree) == f"{tree / deep / 'd'} lies 33 folders deep, at most 32 are followed: remove it"


def test_transparent_images_are_counted_and_put_on_white_on_request(tree):
    for name in ("cat/3.png", "dog/1.png"):
        Image.new("LA", (8, 8), (50, 0)).save(tree / name)
    assert re.fullmatch(
        r"2 of 20 images have transparent pixels, such as \S+/(cat/3|dog/1)\.png: put them on a background "
        r"\(image-folder does so by background=white\)",
        refusal(tree),
    )
    for _ in range(2):  # decoded, and from the cache
        dataset = load_image_folder(data_dir=tree, background="white")
        assert (shades(dataset, "train") + shades(dataset, "test")).count(255) == 2
        assert dataset.notes[1:] == ("2 of 20 images have transparent pixels and were put on white",)


def test_a_set_too_large_for_memory_is_refused_before_it_is_decoded(tree, cache, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_DECODED_BYTES", 20 * 3 * 8 * 8 - 1)
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "decode_all", None)
        assert refusal(tree).startswith("20 images of 8x8 pixels take 0.0 GiB decoded, more than ")
        assert "resize them by a smaller size=PIXELS, or take fewer images" in refusal(tree)
        assert refusal(tree, size=16).startswith("20 images of 16x16 pixels take ")
    assert not cache.exists()
    assert load_image_folder(data_dir=tree, grey=True).input_shape == (1, 8, 8)
    assert load_image_folder(data_dir=tree, size=4).input_shape == (3, 4, 4)


def test_the_classes_that_were_found_are_said(tree, tmp_path):
    assert load_image_folder(data_dir=tree).notes == ("3 classes: cat, dog, owl",)
    for number in range(22):
        for image in range(2):
            write(tmp_path / "many" / f"{number:02d}" / f"{image}.png", image)
    (note,) = load_image_folder(data_dir=tmp_path / "many").notes
    assert note.startswith("22 classes: 00, 01, ")
    assert note.endswith(", 19 and 2 more")
