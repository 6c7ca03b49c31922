from dataclasses import replace

from fast_attacks import LeastSquares

from dtfl_private.attacking.attack_jobs import LeftOut
from dtfl_private.auditing.measuring import Measured
from dtfl_private.auditing.not_tested import NEVER, not_tested
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.plugins.registry import create
from dtfl_private.verdicts.findings import Convergence, NotTested

NOTHING = Measured(results=(), not_given=())


CONVERGED = Convergence(
    tier=3,
    attack="hybrid",
    metric="ssim",
    value=0.5,
    doubled=0.51,
    margin=0.02,
    converged=True,
    remedy="--effort normal",
)


def said(plan, trainings=1, measured=NOTHING, convergence=CONVERGED):
    training = AttackedTraining(run=plan.opened.folder, undefended=None, folder=plan.folder)
    return {one.what: one.why for one in not_tested(plan, [training] * trainings, measured, [convergence])}


def test_attacks_that_cannot_run_are_named_once_with_their_tiers(opened, plan):
    audit = plan(opened())
    left_out = [
        LeftOut(attack="lira", tier=None, why="needs shadow runs"),
        LeftOut(attack="unshuffle", tier=1, why="no shuffle"),
        LeftOut(attack="unshuffle", tier=3, why="no shuffle"),
        LeftOut(attack="unshuffle", tier=2, why="too deep"),
    ]
    found = said(replace(audit, attack_plan=replace(audit.attack_plan, left_out=left_out)))
    assert found["lira"] == "needs shadow runs"
    assert found["unshuffle at tier 1, 3"] == "no shuffle"
    assert found["unshuffle at tier 2"] == "too deep"
    (others,) = [what for what, why in found.items() if why.startswith("not asked for: --preset thorough")]
    assert "decoder" in others.split(", ")
    assert not {"lira", "unshuffle"} & set(others.split(", "))


def test_tiers_that_were_not_asked_for_are_named(opened, plan):
    assert said(plan(opened(), tiers=(2,)))["tiers 1, 3"] == "not asked for (--tier)"
    assert not any(what.startswith("tiers") for what in said(plan(opened())))


def test_only_attacks_of_little_effort_are_called_short(opened, plan):
    by_name = replace(plan(opened(), effort="quick"), attacks=None)
    assert "a tenth of the normal steps" in said(by_name)["longer attacks"]
    assert "longer attacks" not in said(replace(plan(opened(), effort="normal"), attacks=None))
    assert "longer attacks" not in said(plan(opened(), [LeastSquares()]))


def test_why_nothing_is_known_of_convergence_is_said(opened, plan):
    unknown = NotTested(what="convergence", why="nothing was reconstructed")
    assert said(plan(opened()), convergence=unknown)["convergence"] == "nothing was reconstructed"
    assert "convergence" not in said(plan(opened()))


def test_one_training_says_nothing_of_others_and_several_say_what_is_of_the_run_alone(opened, plan):
    assert "other trainings" in said(plan(opened()))
    several = said(plan(opened()), trainings=3)
    assert "other trainings" not in several
    assert several["measures of other trainings"].startswith("results of 3 trainings are their mean")


def test_a_defended_run_alone_has_nothing_to_be_compared_with(opened, plan):
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    defended = plan(opened(defenses=noise), undefended="none")
    assert said(defended)["the run without defenses"].startswith("--undefended none")
    assert "the run without defenses" not in said(plan(opened()))


def test_what_measures_could_not_give_and_what_is_never_tested_are_there(opened, plan):
    measured = Measured(results=(), not_given=(NotTested(what="constant", why="too few"),))
    found = said(plan(opened()), measured=measured)
    assert found["constant"] == "too few"
    assert {NEVER.what, "earlier rounds"} <= found.keys()
