from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from fast_attacks import SEES, Blind, LeastSquares

from dtfl_private.attacking.base import AttackFacts, LabelInference, Tampering, name_of
from dtfl_private.auditing.sanity_attacks import judged_by_ssim, sanity_attacks
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create


@dataclass(frozen=True, kw_only=True)
class OfUpdates(LeastSquares):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"updates"}, recipe="")


@dataclass(frozen=True, kw_only=True)
class Tampers(LeastSquares):
    def tamper(self, view):
        return Tampering(tier=1, weights={})


@dataclass(frozen=True, kw_only=True)
class OnlyAgainstDefenses(LeastSquares):
    def check(self, target):
        if not list(target.defense):
            raise InputError("there is no defense")


@dataclass(frozen=True, kw_only=True)
class Labels(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    def infer(self, view):
        raise NotImplementedError


def with_attacks(plan, attacks):
    """Return the plan with these attacks at its tiers, whether or not they could be planned."""
    jobs = [
        replace(job, chosen=replace(job.chosen, attack=attack, text=repr(attack)))
        for attack in attacks
        for job in plan.jobs
    ]
    return replace(plan, attack_plan=replace(plan.attack_plan, jobs=jobs))


def test_what_reconstructs_from_smashed_data_is_tried_once(opened, plan):
    others = [OfUpdates(), Tampers(), OnlyAgainstDefenses(), Labels()]
    audit = with_attacks(plan(opened()), [*others, LeastSquares(), Blind()])
    assert list(sanity_attacks(audit).values()) == [LeastSquares(), Blind()]


def test_without_such_an_attack_a_search_is_tried(opened, plan):
    (fallback,) = sanity_attacks(with_attacks(plan(opened()), [Labels(), OfUpdates()])).values()
    assert name_of(fallback) == "optimization"


@pytest.mark.parametrize(("needed", "passed"), [(0.85, True), (0.9, False)])
def test_the_strongest_attack_decides_above_what_is_needed(needed, passed):
    attacks = [create("attack", "decoder"), create("attack", "hybrid"), create("attack", "optimization")]
    check = judged_by_ssim("identity", attacks, [0.1, 0.9, 0.3], needed)
    assert (check.name, check.attack, check.value, check.needed, check.passed) == (
        "identity",
        "hybrid",
        0.9,
        needed,
        passed,
    )
