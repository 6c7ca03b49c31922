import json
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dtfl_private.data.files import cache
from dtfl_private.data.files.cache import cache_folder, cached
from dtfl_private.errors import InputError

IMAGES = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build() -> dict[str, torch.Tensor]:
    return {"train": IMAGES.clone(), "test": IMAGES[:1] + 1}


def forbidden() -> dict[str, torch.Tensor]:
    raise AssertionError("decoded again")


def assert_intact(tensors: dict[str, torch.Tensor]) -> None:
    assert sorted(tensors) == ["test", "train"]
    assert torch.equal(tensors["train"], IMAGES)
    assert torch.equal(tensors["test"], IMAGES[:1] + 1)


@pytest.mark.usefixtures("folder")
def test_images_are_decoded_once():
    assert_intact(cached("a", "1", build))
    assert_intact(cached("a", "1", forbidden))


def test_an_entry_is_a_safetensors_file_and_a_json_file_that_describes_it(folder):
    cached("a", "1", build)
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.safetensors"]
    assert_intact(safetensors.torch.load_file(folder / "a.safetensors"))
    about = json.loads((folder / "a.json").read_text())
    assert about.keys() == {"format", "stamp", "bytes", "sha256"}
    assert about["bytes"] == (folder / "a.safetensors").stat().st_size


def test_other_sources_replace_the_entry_and_other_entries_stay(folder, warned):
    for stem in ("a", "b"):
        cached(stem, "1", build)
    other = cached("a", "2", lambda: {"train": IMAGES + 7})
    assert torch.equal(other["train"], IMAGES + 7)
    assert torch.equal(cached("a", "2", forbidden)["train"], IMAGES + 7)
    assert_intact(cached("b", "1", forbidden))
    assert len(list(folder.iterdir())) == 4
    assert warned == []


@pytest.mark.usefixtures("folder")
def test_changes_to_the_tensors_do_not_reach_the_file():
    cached("a", "1", build)["train"].zero_()
    assert_intact(cached("a", "1", forbidden))


def flip(folder: Path) -> None:
    data = bytearray((folder / "a.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "a.safetensors").write_bytes(data)


def lengthen(folder: Path) -> None:
    with (folder / "a.safetensors").open("ab") as file:
        file.write(b"x")


def shorten(folder: Path) -> None:
    data = (folder / "a.safetensors").read_bytes()
    (folder / "a.safetensors").write_bytes(data[:-1])


def scramble_header(folder: Path) -> None:
    data = (folder / "a.safetensors").read_bytes()
    (folder / "a.safetensors").write_bytes(b"\xff" * 8 + data[8:])


def mix(folder: Path) -> None:
    """Leave the data of one writer with the description of another."""
    about = (folder / "a.json").read_bytes()
    safetensors.torch.save_file({"train": IMAGES + 9, "test": IMAGES[:1]}, folder / "a.safetensors")
    (folder / "a.json").write_bytes(about)


def change_json(text: str):
    def change(folder: Path) -> None:
        (folder / "a.json").write_text(text)

    return change


DAMAGES = [flip, lengthen, shorten, scramble_header, mix]
DAMAGES += [change_json(text) for text in ("", "[" * 100_000, "[]", "7", "{}", '{"format": 1, "stamp": "1"}')]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_said_to_be_so_and_made_anew(folder, damage, warned):
    cached("a", "1", build)
    damage(folder)
    assert_intact(cached("a", "1", build))
    (line,) = warned
    assert line.startswith(f"cache {folder / 'a.safetensors'} is damaged (")
    assert line.endswith("): decoding the images again")
    assert "\n" not in line
    assert_intact(cached("a", "1", forbidden))


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_a_missing_half_is_no_entry(folder, name, warned):
    cached("a", "1", build)
    (folder / name).unlink()
    assert_intact(cached("a", "1", build))
    assert_intact(cached("a", "1", forbidden))
    assert warned == []


@pytest.mark.usefixtures("folder")
def test_an_entry_of_another_format_is_made_anew(monkeypatch):
    cached("a", "1", build)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    with pytest.raises(AssertionError, match="decoded again"):
        cached("a", "1", forbidden)


def test_if_decoding_fails_nothing_is_written(folder):
    def fail() -> dict[str, torch.Tensor]:
        raise InputError("a.png is damaged")

    with pytest.raises(InputError, match=r"a\.png is damaged"):
        cached("a", "1", fail)
    assert not folder.exists()


@pytest.mark.parametrize("step", ["save_file", "write_text", "replace"])
def test_a_write_that_fails_leaves_no_half_entry_and_costs_only_time(folder, step, monkeypatch, warned):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch if step == "save_file" else Path, step, full)
        assert_intact(cached("a", "1", build))
    assert [path.name for path in folder.iterdir() if path.suffix != ".safetensors"] == []
    (line,) = warned
    assert "cannot be written ([Errno 28] No space left on device)" in line
    assert_intact(cached("a", "1", build))
    assert_intact(cached("a", "1", forbidden))


def test_a_killed_write_leaves_no_temporary_file(folder, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached("a", "1", build)
    assert list(folder.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_costs_only_time(tmp_path, monkeypatch, warned):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "file"))
    assert_intact(cached("a", "1", build))
    assert any("cannot be written" in line for line in warned)


def _use(folder: str, times: int) -> None:
    os.environ["DTFL_PRIVATE_CACHE"] = folder
    for _ in range(times):
        assert_intact(cached("a", "1", build))
        Path(folder, "a.json").unlink(missing_ok=True)


def test_processes_that_write_the_same_entry_at_once_all_get_the_images(folder):
    # Fork: the children need no new import of torch; they compute nothing with threads.
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_use, args=(str(folder), 30)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert [path for path in folder.iterdir() if path.suffix == ".tmp"] == []


def test_the_folder_is_the_users_choice_or_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("DTFL_PRIVATE_CACHE")
    assert cache_folder() == Path("/xdg/dtfl-private")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "dtfl-private"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "dtfl-private"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/dtfl-private/Cache")


def test_without_a_home_folder_one_is_asked_for(monkeypatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DTFL_PRIVATE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(InputError, match="set DTFL_PRIVATE_CACHE to a folder"):
        cache_folder()
