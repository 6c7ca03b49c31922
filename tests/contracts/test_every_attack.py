"""What every registered attack must keep."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from dtfl_private.attacking.attack_goals import GOALS, goal_of
from dtfl_private.attacking.base import Attack, Target, name_of
from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import ADVERSARIES, MEANING

ROOT = Path(__file__).parent.parent.parent
NAMES = sorted(installed("attack"))


@pytest.fixture(params=NAMES)
def attack(request) -> Attack:
    return create("attack", request.param)


def test_there_is_one_for_every_method_that_the_documentation_lists():
    table = (ROOT / "docs" / "reference" / "attacks.md").read_text("utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in table] == []


def test_it_says_what_it_is_and_needs(attack):
    assert attack.facts.recipe
    assert attack.facts.source
    assert attack.facts.needs <= MEANING.keys()
    assert type(attack).__doc__
    assert goal_of(type(attack)) in GOALS.values()


def test_some_adversary_can_mount_it(attack):
    assert any(attack.facts.needs <= adversary.knowing("same") for adversary in ADVERSARIES.values())


def test_only_a_malicious_server_tampers(attack):
    tampers = type(attack).tamper is not Attack.tamper
    assert tampers == bool(attack.facts.needs & {"chooses-tier", "chooses-weights", "chooses-replies"})


def test_it_is_a_frozen_value_whose_settings_can_be_written_down(attack):
    assert is_dataclass(attack)
    with pytest.raises(AttributeError):
        attack.adaptive = False  # type: ignore[misc] # that it is refused is tested
    text = explicit("attack", name_of(attack))
    assert create("attack", text) == attack
    assert all(f"{field.name}=" in text for field in fields(attack))


def test_its_name_is_that_of_its_class(attack):
    assert name_of(attack) in NAMES


TARGETS = {
    "tokens": Target(tier=1, input_shape=(32,), cut_shape=(32, 16), classes=2, defense=DefenseChain()),
    "images": Target(tier=1, input_shape=(1, 8, 8), cut_shape=(4, 8, 8), classes=2, defense=DefenseChain()),
}


def test_it_refuses_inputs_that_it_is_not_made_for(attack):
    assert attack.facts.inputs <= TARGETS.keys()
    assert attack.facts.inputs
    for inputs in TARGETS.keys() - attack.facts.inputs:
        with pytest.raises(InputError, match=rf"^{name_of(attack)} attacks .*; this run's inputs are .*{inputs}"):
            attack.check(TARGETS[inputs])
