import inspect

import pytest

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.plugins.specification import named_object
from examples import own_network


def build(text: str):
    allowed = named_object("model", text)
    return build_model(text, input_shape=(1, 16, 16), classes=10, norm="group", seed=0, allowed=allowed)


def test_the_example_trains(capsys, tmp_path):
    assert own_network.main(str(tmp_path / "run")) > 0.3
    out = capsys.readouterr().out
    assert "tier 2: cut (16, 4, 4)" in out


def test_both_spellings_of_the_command_line():
    assert len(build("examples.own_network:automatic").tiers) == 3
    assert len(build("examples.own_network:by_hand").tiers) == 2
    assert build("examples.own_network:by_hand:width=12").get_parameter("md1.0.0.weight").shape[0] == 12


def test_a_network_of_one_s_own_takes_less_than_forty_lines():
    lines = inspect.getsource(own_network.network) + inspect.getsource(own_network.by_hand)
    assert lines.count("\n") < 40


def test_a_setting_that_it_has_not_is_refused():
    with pytest.raises(InputError, match=r"unknown setting of model .examples\.own_network:by_hand. .depth."):
        build("examples.own_network:by_hand:depth=3")
