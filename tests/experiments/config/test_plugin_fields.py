import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.plugin_fields import object_name
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config, plugin_options


def test_an_object_is_named_after_its_class_and_no_plugin_has_that_name():
    name = object_name(np.random.default_rng(0))
    assert name == "object:Generator"
    assert make_config({"dataset": name, "defense": [name]}).defense == [name]


NAMING: Mapping[str, Any] = {
    "model": "mine:Net:width=3",
    "defense": ["gaussian-noise", " yours.too:Noise "],
    "scheduler": "static:2",
}


def test_a_configuration_in_a_program_allows_what_it_names_and_one_of_a_file_what_it_is_told():
    named = frozenset({"mine:Net", "yours.too:Noise"})
    assert TrainConfig(**NAMING).allowed == TrainConfig(**NAMING).named_objects == named
    assert make_config(NAMING).allowed == frozenset()
    assert make_config(NAMING).named_objects == named
    assert make_config(NAMING, allowed=frozenset({"mine"})).allowed == frozenset({"mine"})
    assert TrainConfig().allowed == frozenset()


def test_copies_and_other_processes_keep_what_is_allowed_and_nothing_more():
    config = make_config(NAMING, allowed=frozenset({"mine"}))
    assert pickle.loads(pickle.dumps(config)).allowed == config.model_copy(update={"seed": 3}).allowed == {"mine"}
    assert config.allowing(["yours.too"]).allowed == {"mine", "yours.too"}
    assert config.allowed == {"mine"}
    assert TrainConfig().model_copy(update=NAMING).allowed == frozenset()


def test_what_is_allowed_does_not_make_configurations_differ():
    one, other = make_config(NAMING), make_config(NAMING, allowed=frozenset({"mine"}))
    assert one == other
    assert one != make_config({**NAMING, "seed": 1})
    assert to_toml(one) == to_toml(other)
    assert differences(one, other) == []


def test_everything_that_is_named_must_be_allowed_but_what_objects_replace():
    config = make_config(NAMING, allowed=frozenset({"mine"}))
    with pytest.raises(InputError, match=r"defense 'yours\.too:Noise' .*--allow-plugin yours\.too "):
        config.require_allowed()
    config.require_allowed(replaced=["defense"])
    config.allowing(["yours.too"]).require_allowed()
    with pytest.raises(InputError, match="model 'mine:Net'"):
        make_config(NAMING, allowed=frozenset({"yours.too"})).require_allowed()


def test_the_options_to_use_a_run_again_name_every_module_once():
    config = TrainConfig(model="mine:Net", scheduler="mine:Fast", defense=["yours.too:Noise", "identity"])
    assert plugin_options(config) == ["--allow-plugin", "mine", "--allow-plugin", "yours.too"]
    assert plugin_options(TrainConfig()) == []
