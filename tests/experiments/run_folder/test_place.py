from pathlib import Path

import pytest
from interrupted_runs import left_behind

from dtfl_private.errors import InputError


def test_fresh_folders_are_numbered_below_runs(run_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert run_tiny(None, rounds=1).folder.path == Path(f"runs/ImageDataset-StagedModel-dtfl-{number:03d}")


def test_an_existing_folder_is_not_written_to_unless_resumed(run_tiny, finished):
    before = left_behind(finished)
    with pytest.raises(InputError, match=r"run' exists: add --resume to go on with it, or choose another --out"):
        run_tiny(finished, rounds=1)
    assert left_behind(finished) == before
