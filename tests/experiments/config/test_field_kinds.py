from pathlib import Path

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import make_config


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rounds", "7", 7),
        ("lr", "1e-2", 0.01),
        ("download", "true", True),
        ("data_dir", "a/b", Path("a/b")),
        ("data_dir", "none", None),
        ("max_train_images", "none", None),
        ("max_train_images", "100", 100),
        ("target_accuracy", "none", None),
        ("tiers", "none", None),
        ("workers", "none", None),
        ("workers", "auto", None),
        ("augment", "crop, flip", ["crop", "flip"]),
        ("augment", "cutout", ["cutout"]),
        ("augment", "", []),
        ("defense", "identity", ["identity"]),
        ("defense", ("Identity", "identity"), ["identity", "identity"]),
        ("dataset", "Fashion_MNIST", "fashion-mnist"),
        ("model", "ResNet8", "resnet-8"),
        ("partition", "Dirichlet:alpha=0.1", "dirichlet:alpha=0.1"),
        ("scheduler", "STATIC:3", "static:3"),
        ("method", "object:Mine", "object:Mine"),
    ],
)
def test_options_are_converted_and_names_spelled_as_registered(name: str, text: object, value: object):
    assert getattr(make_config({name: text}), name) == value


@pytest.mark.parametrize("value", ["", "x", "0", "1,x", [], [1.5], True])
def test_wrong_tiers_are_refused(value):
    with pytest.raises(InputError, match="allowed_tiers"):
        make_config({"allowed_tiers": value})
