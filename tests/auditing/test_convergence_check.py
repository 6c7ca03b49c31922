"""One attack once more with twice the effort: made-up attacks that get more by it, and some that do not."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import torch
from audit_progress import HeardJobs
from fast_attacks import SEES, Blind
from pydantic import Field

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.base import AttackFacts, MembershipInference, Reconstruction
from dtfl_private.attacking.chosen_attack import Chosen, make_attack
from dtfl_private.auditing import convergence_check
from dtfl_private.auditing.attack_trainings import attack_training
from dtfl_private.auditing.convergence_check import check_convergence, text_of_doubled
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.protocol.adversaries import ADVERSARIES
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.findings import NotTested


@dataclass(frozen=True, kw_only=True)
class Rising(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="the mean image, with noise that effort removes")

    left: float = 0.1
    steps: Annotated[int, Field(le=30)] = 0

    def reconstruct(self, view):
        noise = torch.randn(view.victims, *view.input_shape, generator=view.chance())
        return view.auxiliary.images.mean(dim=0) + noise * self.left ** (self.steps_of(self.steps, 10) / 10)


@dataclass(frozen=True, kw_only=True)
class Guessing(MembershipInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="chance")

    def scores(self, view):
        return view.candidates.images.flatten(1).mean(dim=1)


def made(strength: int = 2) -> Rising:
    """Return an attack as a user's own function makes it, by settings of its own names."""
    return Rising(steps=strength)


def made_otherwise(effort: float = 1.0, steps: int = 1) -> Rising:
    """Return an attack by settings that are called as the attack's own, and mean something else."""
    return Rising(effort=effort, steps=steps + 1)


@pytest.fixture
def check(opened, plan, monkeypatch):
    """Attack a run at tiers 1 and 2, and check the convergence: ``check(attacks, listener, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])

    def checked(attacks, listener=None, **settings):
        audit = plan(opened(), attacks, tiers=(1, 2), **{"effort": "normal", "seeds": 1, **settings})
        training = AttackedTraining(run=audit.opened.folder, undefended=None, folder=audit.folder)
        report = attack_training(audit, training, Callback())
        found = check_convergence(audit, report, listener or Callback())
        reached = {
            verdict.job.chosen.name: result.value
            for verdict in report.verdicts
            for result in verdict.results
            if (verdict.job.tier, result.metric) == (2, "ssim")
        }
        return found, reached

    return checked


def test_an_attack_that_gets_more_with_twice_the_effort_has_not_converged(check):
    found, reached = check([Rising(left=0.9), Rising()])
    assert (found.tier, found.attack, found.metric) == (2, "rising", "ssim")
    assert found.value == pytest.approx(reached["rising"])
    assert found.psnr.value < found.psnr.doubled
    assert found.doubled > found.value + found.margin
    assert not found.converged
    assert found.remedy == "--effort exhaustive"


def test_an_attack_that_has_got_all_it_can_has_converged(check):
    found, reached = check([Rising(left=0.05)])
    assert found.value == pytest.approx(reached["rising"])
    assert found.converged
    assert found.value < found.doubled < found.value + found.margin


@pytest.mark.parametrize(
    ("first", "again", "converged"),
    [
        ((0.969, 25.7), (0.979, 33.1), False),
        ((0.969, 25.7), (0.979, 26.6), True),
        ((0.969, 25.7), (0.979, 26.8), False),
        ((0.969, 25.7), (0.990, 26.6), False),
        ((0.99, 39.9), (0.999, 47.0), False),
        ((0.99, 40.0), (0.999, 47.0), True),
        ((0.9, 40.0), (0.999, 47.0), False),
        ((0.969, 25.7), (0.5, 12.0), True),
    ],
)
def test_ssim_rises_by_more_than_002_or_psnr_by_more_than_1_db_below_40(first, again, converged, check, monkeypatch):
    made_up = [dict(zip(("ssim", "psnr"), means, strict=True)) for means in (first, again)]
    monkeypatch.setattr(convergence_check, "_first_repetition", lambda _: made_up[0])
    monkeypatch.setattr(convergence_check, "_attack_again", lambda *_: made_up[1])
    found, _ = check([Blind()])
    assert (found.value, found.psnr.value, found.doubled, found.psnr.doubled) == (*first, *again)
    assert (found.margin, found.psnr.margin, found.psnr.exact) == (0.02, 1.0, 40.0)
    assert found.converged is converged


def test_it_is_compared_with_the_repetition_of_the_same_seed(check):
    found, reached = check([Blind()], seeds=2)
    assert found.converged
    assert found.doubled == pytest.approx(found.value)
    assert found.value != pytest.approx(reached["blind"])


def test_the_effort_is_twice_that_of_the_audit_or_of_the_attack_s_own_settings(check):
    half, _ = check([Rising(effort=0.5)])
    whole, reached = check([Rising()])
    assert half.doubled == pytest.approx(whole.value) == pytest.approx(reached["rising"])
    quick, _ = check([Rising()], effort="quick")
    assert quick.value < quick.doubled < half.value
    assert quick.remedy == "--effort normal or exhaustive"
    steps, _ = check([Rising(steps=5)])
    assert (steps.value, steps.doubled) == pytest.approx((half.value, half.doubled))
    assert steps.remedy == "rising at steps=10 or more"
    assert half.remedy == "rising at effort=1 or more"


@pytest.mark.parametrize(
    ("text", "doubled"),
    [
        ("hybrid:size=small,effort=0.1", "hybrid:size=small,effort=0.2"),
        ("optimization:steps=30,smoothness=0.1", "optimization:steps=60,smoothness=0.1,effort=2"),
        (f"{__name__}:Rising:steps=5", f"{__name__}:Rising:steps=10,effort=2"),
        (f"{__name__}:made:strength=5", None),
        (f"{__name__}:made_otherwise:steps=5", None),
        (f"{__name__}:Rising:steps=20", None),
    ],
)
def test_an_attack_by_name_is_doubled_by_name_where_that_is_the_same(text, doubled):
    attack, written = make_attack(text)
    adversary = ADVERSARIES["server-honest-but-curious"]
    found = text_of_doubled(Chosen(attack=attack, text=written, adversary=adversary))
    assert (found and make_attack(found)[0]) == (doubled and make_attack(doubled)[0])


def test_the_repeated_attack_is_announced_and_cached(check):
    first, second = HeardJobs(), HeardJobs()
    assert check([Rising()], first) == check([Rising()], second)
    label = "rising, tier 2, seed 0, twice the effort"
    assert first.announced == second.announced == [label]
    assert (first.kept, second.kept) == ({label: [False]}, {label: [True]})


def test_where_no_attack_can_be_repeated_it_is_said_why(check):
    nothing, _ = check([Guessing()])
    assert isinstance(nothing, NotTested)
    assert nothing.why.startswith("no reconstruction was judged")
    limited, _ = check([Rising(steps=20)])
    assert isinstance(limited, NotTested)
    assert limited.why.startswith("rising cannot take twice the effort: attack 'rising': steps=40 is refused")
