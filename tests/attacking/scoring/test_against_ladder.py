"""Who is ahead, by the metric that each kind of attack is judged by: of scores that are made up."""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.base import (
    AttackFacts,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
)
from dtfl_private.attacking.chosen_attack import Chosen
from dtfl_private.attacking.scoring.against_ladder import compared_with_ladder
from dtfl_private.attacking.scoring.judged import Scored
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.leakage.membership_metrics import auc_interval, placements
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.randomness import stream

NUMBERS = r"(-?[\d.]+), rung (-?[\d.]+): ([+-][\d.]+) \(([+-][\d.]+) to ([+-][\d.]+)\)"


def job(goal, name, tier, *, per_tier=True):
    @dataclass(frozen=True, kw_only=True)
    class Made(goal):
        facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset(), recipe="", per_tier=per_tier)

    Made.__abstractmethods__ = frozenset()
    Made.__name__ = name
    attack = Made()
    return Job(chosen=Chosen(attack=attack, text=name, adversary=find_adversary("curious-client")), tier=tier)


def verdict(goal, name, scores, *, tier=1, truth=None, records=None, per_tier=True):
    count = len(next(iter(scores.values()))[0][0])
    truth = torch.zeros(count) if truth is None else truth
    records = torch.arange(count) if records is None else records
    scored = Scored(truth=truth, records=records, scores=scores)
    return Verdict(job=job(goal, name, tier, per_tier=per_tier), results=[], scored=scored)


def numbers(line):
    return [float(figure) for figure in re.search(NUMBERS, line).groups()]


@pytest.mark.parametrize("goal", [AttributeInference, LabelInference])
def test_guessed_values_are_compared_by_how_many_are_right(goal):
    right = np.array([[1.0] * 60 + [0.0] * 40])
    others = np.array([[1.0] * 50 + [0.0] * 50])
    mine = verdict(goal, "Mine", {"accuracy": [right]})
    (line,) = compared_with_ladder([mine, verdict(goal, "Rung", {"accuracy": [others]})], {"mine"})
    assert line.startswith("tier 1, mine against the ladder: accuracy 0.600, rung 0.500: +0.100 (")
    *_, low, high = numbers(line)
    # Ten of 100 pairs differ, all one way, with a standard error of 0.03; unpaired it would be 0.07: -0.04 to 0.24.
    assert 0.04 < low < 0.1 < high < 0.2


def test_shares_that_are_all_apart_have_the_exact_bound():
    mine = verdict(LabelInference, "Mine", {"accuracy": [np.ones((1, 20))]})
    rung = verdict(LabelInference, "Rung", {"accuracy": [np.zeros((1, 20))]})
    low, high = numbers(compared_with_ladder([mine, rung], {"mine"})[0])[-2:]
    assert (low, high) == (pytest.approx(2 * 0.025 ** (1 / 20) - 1, abs=1e-3), 1)


def test_memberships_are_compared_by_their_auc_and_paired():
    chance = np.random.default_rng(0)
    shared = chance.standard_normal((2, 3, 200))  # records that are easy for both
    members, others = shared[0] + 1, shared[1]
    better = members + 0.3, others
    mine = verdict(MembershipInference, "Mine", {"auc": placements(*better)})
    rung = verdict(MembershipInference, "Rung", {"auc": placements(members, others)})
    (line,) = compared_with_ladder([mine, rung], {"mine"})
    own, theirs, value, low, high = numbers(line)
    alone = [auc_interval(*groups, stream(0, "draws")) for groups in (better, (members, others))]
    assert [own, theirs] == pytest.approx([found.value for found in alone], abs=1e-3)
    assert value == pytest.approx(own - theirs, abs=2e-3)
    assert 0 < low < value < high
    assert high - low < (alone[0].high - alone[0].low) / 2


def test_the_best_of_the_ladder_with_this_aim_is_taken_at_the_same_tier():
    made = [
        verdict(goal, name, {"accuracy": [np.full((1, 8), value)]}, tier=tier)
        for goal, name, value, tier in [
            (LabelInference, "Mine", 0.5, 1),
            (LabelInference, "Worse", 0.25, 1),
            (LabelInference, "Rung", 0.625, 1),
            (LabelInference, "Deeper", 0.875, 2),
            (AttributeInference, "Property", 1.0, 1),
        ]
    ]
    (line,) = compared_with_ladder(made, {"mine"})
    assert numbers(line)[:3] == [0.5, 0.625, -0.125]


def test_what_does_not_depend_on_the_tier_is_compared_at_each():
    scores = {"auc": placements(np.eye(2), np.zeros((2, 2)))}
    mine = [verdict(MembershipInference, "Mine", scores, tier=tier) for tier in (1, 2)]
    rung = verdict(MembershipInference, "Rung", scores, tier=1, per_tier=False)
    lines = compared_with_ladder([*mine, rung], {"mine"})
    assert [line.partition(",")[0] for line in lines] == ["tier 1", "tier 2"]


@pytest.mark.parametrize("other", [{"records": torch.arange(1, 9)}, {"truth": torch.ones(8)}])
def test_of_other_victims_or_another_property_nothing_is_compared(other):
    scores = {"accuracy": [np.ones((1, 8))]}
    made = [verdict(AttributeInference, "Mine", scores), verdict(AttributeInference, "Rung", scores, **other)]
    (line,) = compared_with_ladder(made, {"mine"})
    assert line.endswith("of other victims, or after something else, than rung")


def test_images_are_compared_by_two_metrics_each_with_its_best():
    def images(name, psnr, ssim):
        return verdict(Reconstruction, name, {"psnr": [np.full((1, 8), psnr)], "ssim": [np.full((1, 8), ssim)]})

    made = [images("Mine", 20.0, 0.5), images("Sharp", 21.0, 0.25), images("Alike", 15.0, 0.75)]
    (line,) = compared_with_ladder(made, {"mine"})
    assert "PSNR, dB 20.0, sharp 21.0: -1.0 (-1.0 to -1.0); SSIM 0.500, alike 0.750: -0.250" in line
