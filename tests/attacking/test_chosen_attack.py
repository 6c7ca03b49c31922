"""Who mounts an attack, and that it takes no more than this adversary has."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from attack_reports import of
from fast_attacks import LeastSquares

from dtfl_private.attacking.base import (
    AttackFacts,
    Reconstruction,
)
from dtfl_private.errors import InputError


def test_the_weakest_adversary_that_can_is_taken_and_a_weaker_one_refused(trained, mount):
    assert of(mount(trained(), [LeastSquares()], tiers=[1]), "mse").adversary == "server-honest-but-curious"
    with pytest.raises(InputError, match=r"least-squares needs .*, which curious-client does not have"):
        mount(trained(), [LeastSquares()], adversary="curious-client")
    strong = mount(trained(), [LeastSquares()], tiers=[1], adversary="server-malicious")
    assert of(strong, "mse").adversary == "server-malicious"


@dataclass(frozen=True, kw_only=True)
class Greedy(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"smashed"}), recipe="takes more than it declares")

    def reconstruct(self, view):
        return view.auxiliary.images[: view.victims]


def test_an_attack_cannot_take_more_than_the_adversary_has(trained, mount):
    with pytest.raises(InputError, match="greedy needs auxiliary data"):
        mount(trained(), [Greedy()], aux="architecture")
