"""Commands run in an empty folder."""

from collections.abc import Callable

import numpy as np
import pytest
from command_line import Answer
from PIL import Image

from dtfl_private.cli.main import main
from dtfl_private.report.comparison import written_files


@pytest.fixture
def dtfl(capsys, tmp_path, monkeypatch) -> Callable[..., Answer]:
    """Run a command in an empty folder: ``dtfl("train", "--rounds", 1)``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Answer(status=left.value.code, out=out, err=err)

    return run


@pytest.fixture
def no_comparison_pictures(monkeypatch) -> None:
    """Write a word in place of a comparison's pictures, which `test_compare_command.py` and their own tests look at."""
    for picture in ("accuracy_picture", "target_picture"):
        monkeypatch.setattr(written_files, picture, lambda *_, **__: b"drawn")


@pytest.fixture
def in_tree(dtfl, tmp_path, monkeypatch) -> Callable[..., Answer]:
    """Run a command in a folder that holds a tree of images; return its answer."""
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(15):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tree" / name / f"{number}.png")
    return dtfl
