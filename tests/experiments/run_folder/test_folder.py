import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.folder import create_run_folder, locked, require_no_links


def test_a_run_folder_appears_whole(folder):
    assert folder.config.read_text() == "rounds = 1\n"
    assert json.loads(folder.environment.read_text()) == {"python": "3"}
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "environment.json"]
    assert list(folder.path.parent.iterdir()) == [folder.path]


def test_parents_of_a_run_folder_are_made_and_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b" / "run", tmp_path / "empty"):
        assert create_run_folder(path, "", {}).config.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


@pytest.mark.parametrize("name", ["taken", "file", "file/run", ".", "", "..", "taken/.."])
def test_where_no_folder_can_be_made_nothing_is_left_behind(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("taken").mkdir()
    Path("taken", "mine").write_text("")
    Path("file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="cannot be made"):
        create_run_folder(Path(name), "", {})
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_process_of_the_same_number_left_behind_does_no_harm(tmp_path):
    draft = tmp_path / f".run.tmp-{os.getpid()}"
    draft.mkdir()
    (draft / "config.toml").write_text("half")
    (draft / "more").write_text("")
    folder = create_run_folder(tmp_path / "run", "whole", {})
    assert folder.config.read_text() == "whole"
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "environment.json"]


def test_a_folder_is_held_by_one_at_a_time_and_let_go_after_an_error(folder):
    def fail_inside():
        with locked(folder):
            raise ZeroDivisionError

    in_use = r"'.*run' is in use by another process: wait, or choose another --out"
    with locked(folder), pytest.raises(InputError, match=in_use):
        fail_inside()
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    with locked(folder):
        pass


def test_a_folder_held_by_another_process_is_refused_until_that_is_gone(folder):
    holding = (
        "import sys; from pathlib import Path; import fcntl, os; "
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another process"), locked(folder):
            pass
        process.kill()
    with locked(folder):
        pass


@pytest.mark.parametrize(
    "place", ["rounds.jsonl", "checkpoint", "audit", "audit/attacks", "attacks/kept", "transcript"]
)
def test_nothing_is_written_through_a_link_of_a_run_folder(folder, tmp_path, place):
    require_no_links(folder)
    there = folder.path / place
    there.parent.mkdir(exist_ok=True)
    there.unlink(missing_ok=True)
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{place}' is a link, through which nothing is written"):
        require_no_links(folder)
