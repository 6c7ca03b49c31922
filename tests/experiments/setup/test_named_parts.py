import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_parts import named_parts
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.plugins.registry import create


def test_stopping_at_a_target_needs_one(run_tiny, tmp_path):
    with pytest.raises(InputError, match="stop_at_target needs a target"):
        run_tiny(tmp_path / "run", stop_at_target=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_named_and_what_is_passed_instead(tiny_config, patterns):
    config = tiny_config(defense=["gaussian-noise:sd=1.0"], method="dtfl-full", precision="fp64")
    named = named_parts(config, RunObjects())
    assert [type(defense).__name__ for defense in named.defense] == ["GaussianNoise"]
    assert (named.names, named.norm, named.audited) == ({}, "batch", None)
    assert (named.method.full_tier, named.numerics.weight_dtype) == (True, torch.float64)
    passed = named_parts(config, RunObjects(dataset=patterns, defenses=[create("defense", "identity")]))
    assert [type(defense).__name__ for defense in passed.defense] == ["Identity"]
    assert passed.names == {"dataset": "object:ImageDataset", "defense": ["object:Identity"]}


def test_guarantees_per_record_take_group_norm(tiny_config):
    config = tiny_config(defense=["dp-weights:noise_multiplier=1"])
    assert named_parts(config, RunObjects()).norm == "group"
