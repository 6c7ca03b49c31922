import os
import tempfile
from pathlib import Path

import pytest

from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path, path_text, require_usable, write_atomic


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file"
    for data in (b"one", b"", b"three" * 1000):
        write_atomic(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_content(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def crash(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else type(path), step, crash)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, b"new content")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync") or sync(descriptor))
    monkeypatch.setattr(type(tmp_path), "replace", lambda path, to: events.append("name") or replace(path, to))
    write_atomic(tmp_path / "file", b"data")
    assert events == ["sync", "name", *(["sync"] if os.name == "posix" else [])]


def test_a_folder_that_can_be_written_is_let_pass_and_left_as_it_was(tmp_path):
    require_usable(tmp_path)
    require_usable(tmp_path / "to" / "be" / "made")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_with_the_systems_reason(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"^folder '.*file/below' cannot be made: Not a directory$"):
        require_usable(tmp_path / "file" / "below")

    def refuse(dir):  # noqa: A002, the name is tempfile's
        raise PermissionError(13, "Permission denied", str(dir))

    # Permissions do not hold for the superuser, who may be running this.
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"^folder '.*' cannot be written: Permission denied$"):
        require_usable(tmp_path)


def test_a_path_in_any_encoding_is_text_that_a_file_can_hold():
    assert path_text(Path("runs/a")) == str(Path("runs/a"))
    assert path_text(Path(os.fsdecode(b"run-\xff"))) == "run-\\xff"
    path_text(Path(os.fsdecode(b"run-\xff"))).encode()


@pytest.mark.parametrize("plant", [lambda path, other: path.symlink_to(other), lambda path, _: os.mkfifo(path)])
def test_what_stands_in_place_of_a_half_written_file_is_not_written_to(tmp_path, plant):
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    plant(tmp_path / ".file.tmp", other)
    write_atomic(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert other.read_bytes() == b"somebody's"


def test_the_home_folder_is_where_the_shell_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_path("~/x") == tmp_path / "x"
    assert output_path(output_path("./~")) == Path.cwd() / "~"
    assert output_path("runs/a~b") == Path("runs/a~b")
    assert output_path(".") == Path()


@pytest.mark.parametrize("name", ["", "  ", "~nobody-of-this-name/x", "~nobody-of-this-name"])
def test_an_output_without_a_name_is_refused(name):
    with pytest.raises(InputError, match="is refused"):
        output_path(name)
