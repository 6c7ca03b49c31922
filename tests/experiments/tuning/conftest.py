"""A preset with a tuning stage, small enough to be trained in a test."""

import pytest

from dtfl_private.experiments.preset import load_preset

TUNED = """
title = "tuned"
seeds = [0, 1]
baseline = "fedavg"

[tuning]
seeds = [7, 8]
validation = 0.1
metric = "time-to-target"
rounds = { small = 1 }

[[tuning.trials]]
method = "fedavg"
lr = [0.005, 0.02]

[[tuning.trials]]
method = ["fedprox:mu=0.1", "FedProx:mu=0.01"]

[[tuning.trials]]
method = "fedprox"
lr = 0.02

[config]
clients = 2
batch_size = 8
device = "cpu"

[[grid]]
method = ["fedavg", "fedprox"]

[sizes.small]
dataset = "digits:size=8"
max_train_images = 30
model = "he-cnn"
rounds = 2
target_accuracy = 0.01
"""


@pytest.fixture
def tuned(tmp_path):
    """Load the preset with texts replaced by others: ``tuned(("rounds = 2", "rounds = 3"))``."""

    def load(*changes: tuple[str, str]):
        text = TUNED
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "tuned.toml"
        path.write_text(text)
        return load_preset(path, "small")

    return load
