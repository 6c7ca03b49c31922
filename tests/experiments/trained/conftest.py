"""What the tests of trained networks share: a run on digits, and one on a tree of images of different sizes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.train import train

SMALL = {"clients": 2, "rounds": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", "workers": 1}


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Run:
    config = TrainConfig(dataset="digits:size=8", max_train_images=120, **SMALL)
    return train(config, out=tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A tree with a split of its own; images in colour, of different sizes, in classes that are hard to tell apart."""
    root = tmp_path_factory.mktemp("images") / "tree"
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 15)):
        for label, name in enumerate(("cat", "dog", "emu")):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                height, width = rng.integers(6, 20, size=2)
                pixels = rng.normal(100 + 20 * label, 60, (height, width, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def tree_run(tree, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        config = TrainConfig(dataset="image-folder:size=8", data_dir=tree, **{**SMALL, "rounds": 3})
        return train(config, out=tmp_path_factory.mktemp("tree") / "run")
