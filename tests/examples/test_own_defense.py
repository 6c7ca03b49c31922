import inspect
from dataclasses import fields

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import SmashedBatch
from examples import own_defense
from examples.own_defense import StochasticRounding


def test_the_example_trains_and_says_that_it_guarantees_nothing(capsys, tmp_path):
    assert own_defense.main(str(tmp_path / "run"), rounds=4) > 0.3
    assert "smashed data pass stochastic-rounding: no formal guarantee" in capsys.readouterr().out


def test_it_rounds_to_both_neighbours_and_keeps_the_mean():
    smashed, labels = torch.full((10, 1000), 0.3), torch.zeros(10).long()
    message = SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=labels)
    at = ClientRound(seed=0, client=0, round=1, tier=1, records=10, classes=2)
    sent = StochasticRounding(step=0.5).protect_batch(message, at).smashed
    assert set(sent.unique().tolist()) == {0.0, 0.5}
    # Five standard deviations of the mean of 10,000 draws: false alarm 6e-7.
    assert abs(float(sent.mean()) - 0.3) < 5 * 0.245 / 100


def test_it_is_an_option_of_the_command_line():
    own = frozenset({"examples.own_defense"})
    defense = create("defense", "examples.own_defense:StochasticRounding:step=0.5", allowed=own)
    assert defense == StochasticRounding(step=0.5)
    assert [field.name for field in fields(defense)] == ["step"]
    with pytest.raises(InputError, match="step=wide is refused"):
        create("defense", "examples.own_defense:StochasticRounding:step=wide", allowed=own)


def test_a_defense_of_one_s_own_takes_less_than_forty_lines():
    assert inspect.getsource(own_defense).count("\n") < 40
