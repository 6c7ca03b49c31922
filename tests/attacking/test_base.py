"""What all attacks have in common."""

from dataclasses import dataclass
from typing import ClassVar

from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.plugins.registry import create


@dataclass(frozen=True, kw_only=True)
class Stepwise(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="has settings of every kind")

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
    for text in ("decoder", "optimization:effort=0.5", "hybrid:steps=10,decoder_steps=20"):
        attack = create("attack", text)
        twice = attack.doubled()
        for given, normal in ((attack.steps, 100), (getattr(attack, "decoder_steps", 0), 300)):
            named = 2 * given if given else 0
            assert twice.steps_of(named, normal) == 2 * attack.steps_of(given, normal)
    assert create("attack", "hybrid:steps=10,decoder_steps=20").doubled().own_steps == {
        "decoder_steps": 40,
        "steps": 20,
    }
