"""How attacks guess: what is cached, what goes on after an interruption, what is no guess."""

from dataclasses import dataclass

import pytest
from attack_reports import Heard
from fast_attacks import Blind, LeastSquares
from recall import Remembers

from dtfl_private.errors import RunError


def test_a_second_call_does_not_attack_again(trained, mount):
    first = mount(trained(), [LeastSquares()], tiers=[2])
    kept = Heard()
    second = mount(trained(), [LeastSquares()], tiers=[2], callbacks=[kept])
    assert kept.kept == [True]
    assert [result.model_dump() for result in first.results] == [result.model_dump() for result in second.results]


def test_an_interrupted_attack_goes_on_where_it_was(trained, mount):
    stops = Heard(stop_at="least-squares, tier 2, seed 2")
    with pytest.raises(KeyboardInterrupt):
        mount(trained(), [LeastSquares()], tiers=[2], seeds=3, callbacks=[stops])
    again = Heard()
    mount(trained(), [LeastSquares()], tiers=[2], seeds=3, callbacks=[again])
    assert again.kept == [True, True, False]


def test_what_cannot_be_written_down_is_guessed_anew(trained, mount, patterns):
    told = Remembers(images=patterns.train_images)
    heard = Heard()
    for _ in range(2):
        mount(trained(), [told], tiers=[1], victims=8, callbacks=[heard])
    assert heard.kept == [False, False]


@dataclass(frozen=True, kw_only=True)
class Misshapen(Blind):
    def reconstruct(self, view):
        return super().reconstruct(view)[:-1]


@dataclass(frozen=True, kw_only=True)
class NotANumber(Blind):
    def reconstruct(self, view):
        return super().reconstruct(view) * float("nan")


@pytest.mark.parametrize("broken", [Misshapen, NotANumber])
def test_a_guess_that_is_none_ends_the_attack(trained, mount, broken, tmp_path):
    with pytest.raises(RunError, match="expected finite values"):
        mount(trained(), [broken()], tiers=[1])
    assert not (tmp_path / "out" / "attack.json").exists()
