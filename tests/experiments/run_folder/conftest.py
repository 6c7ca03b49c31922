"""What the tests of run folders share."""

import pytest

from dtfl_private.experiments.run_folder.folder import RunFolder, create_run_folder


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return create_run_folder(tmp_path / "run", "rounds = 1\n", {"python": "3"})
