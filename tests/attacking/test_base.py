"""What all attacks have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create


@dataclass(frozen=True, kw_only=True)
class Stepwise(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="has settings of every kind")

    normal_steps: ClassVar[Mapping[str, int]] = {"steps": 1000}

    steps: int = 0
    inner_steps: int = 30
    by_steps: bool = True
    stepsize: int = 7

    def reconstruct(self, view):
        raise NotImplementedError


def test_effort_scales_the_steps_that_no_setting_names():
    assert Stepwise(effort=0.15).steps_of(0, 1000) == 150
    assert Stepwise(effort=0.15).steps_of(20, 1000) == 20
    assert Stepwise(effort=0.001).steps_of(0, 10) == 1


def test_twice_the_effort_doubles_the_steps_that_settings_name_and_nothing_else():
    assert Stepwise(effort=0.25).doubled() == Stepwise(effort=0.5, inner_steps=60)
    assert Stepwise(steps=5).doubled() == Stepwise(effort=2, steps=10, inner_steps=60)
    assert LeastSquares(ridge=0.5, adaptive=False).doubled() == LeastSquares(ridge=0.5, adaptive=False, effort=2)


def test_every_step_of_a_built_in_attack_is_doubled():
    named = [text for text in installed("attack") if create("attack", text).budget]
    assert {"decoder", "hybrid", "optimization", "surrogate", "unshuffle", "update-inversion"} <= set(named)
    for text in (*named, "optimization:effort=0.5", "hybrid:steps=10,decoder_steps=20"):
        attack = create("attack", text)
        assert attack.doubled().budget == {name: 2 * steps for name, steps in attack.budget.items()}


def test_a_budget_is_what_settings_name_or_else_the_normal_steps_by_the_effort():
    assert Stepwise(effort=0.15).budget == {"steps": 150, "inner_steps": 30}
    assert Stepwise(steps=7, effort=4).budget == {"steps": 7, "inner_steps": 30}
    assert create("attack", "hybrid:steps=10,effort=0.1").budget == {"decoder_steps": 400, "steps": 10}
    assert create("attack", "membership-matching").budget == {}
