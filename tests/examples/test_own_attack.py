import inspect
from dataclasses import fields

import pytest

from dtfl_private.attacking import runner as attacking
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from examples.own_attack import AttackConfig, RidgeRegression, TrainConfig, attack, train


def test_the_example_reconstructs_digits_well_above_the_trivial_guess(tmp_path, monkeypatch):
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    run = train(TrainConfig(max_train_images=400, clients=4, rounds=1, batch_size=16), out=tmp_path / "run")
    report = attack(run, AttackConfig(tiers=(2,), seeds=1, victims=32), attacks=[RidgeRegression()])
    (found,) = [r for r in report.results if (r.source, r.metric) == ("ridge-regression", "psnr")]
    assert found.baseline is not None
    assert found.ci_low > found.baseline + 3


def test_it_is_an_option_of_the_command_line():
    own = frozenset({"examples.own_attack"})
    made = create("attack", "examples.own_attack:RidgeRegression:strength=0.1", allowed=own)
    assert made == RidgeRegression(strength=0.1)
    assert [field.name for field in fields(RidgeRegression)] == ["adaptive", "effort", "strength"]
    with pytest.raises(InputError, match="strength=much is refused"):
        create("attack", "examples.own_attack:RidgeRegression:strength=much", allowed=own)


def test_an_attack_of_one_s_own_takes_less_than_forty_lines():
    assert inspect.getsource(RidgeRegression).count("\n") < 40
