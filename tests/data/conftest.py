"""What the tests of trees of images share."""

from pathlib import Path

import pytest
from image_trees import write


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path) -> Path:
    """Three classes of 10, 5 and 5 images; shades 0..9 are cats, 100..104 dogs, 200..204 owls."""
    for name, first, count in (("cat", 0, 10), ("dog", 100, 5), ("owl", 200, 5)):
        for number in range(count):
            write(tmp_path / "tree" / name / f"{number}.png", first + number)
    return tmp_path / "tree"
