import os
import re
from pathlib import Path

import numpy as np
import pytest
from image_trees import refusal, shades, write
from PIL import Image

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.files import found_files, image_files, pixels
from dtfl_private.data.files.found_files import chosen_for_test
from dtfl_private.data.image_folder import load_image_folder

pytestmark = pytest.mark.usefixtures("cache")


def test_the_test_share_is_unrelated_to_the_names():
    names = [f"image{number:05d}" for number in range(10_000)]
    chosen = chosen_for_test(names, 0.2)
    assert len(chosen) == 2000
    # The mean place of 2000 out of 10,000 has a standard deviation of 58.
    assert abs(np.mean([names.index(name) for name in chosen]) - 4999.5) < 6 * 58


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


def test_links_to_folders_end_in_no_loop(tree):
    (tree / "cat" / "again").symlink_to(tree / "cat")
    dataset = load_image_folder(data_dir=tree)
    assert len(dataset.train_labels) + len(dataset.test_labels) == 20
    (tree / "self").symlink_to(tree)
    assert refusal(tree) == f"{tree / 'self'} is a link to a folder that it lies in itself: remove it"


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


def test_each_choice_of_settings_has_an_entry_of_its_own(tree, cache, monkeypatch):
    choices = [{}, {"size": 4}, {"grey": True}, {"test": 0.5}]
    for settings in choices:
        load_image_folder(data_dir=tree, **settings)
    assert len(list(cache.glob("*.json"))) == len(choices)
    monkeypatch.setattr(image_files, "decode_all", None)
    for settings in choices:
        load_image_folder(data_dir=tree, **settings)


def test_what_servers_and_archivers_leave_behind_is_no_class(tree):
    write(tree / "@eaDir" / "0.png", 70)
    write(tree / "cat" / "@eaDir" / "0.png" / "thumb.png", 71)
    write(tree / "__MACOSX" / "cat" / "0.png", 72)
    dataset = load_image_folder(data_dir=tree)
    assert dataset.classes == ("cat", "dog", "owl")
    assert not {70, 71, 72} & {*shades(dataset, "train"), *shades(dataset, "test")}


def test_a_tree_is_followed_so_many_levels_and_no_more(tree):
    deep = Path("cat", *["d"] * found_files.MOST_LEVELS)
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
