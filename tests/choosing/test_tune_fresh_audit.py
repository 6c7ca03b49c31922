"""The arithmetic of fresh audits: differences, and which point is audited next."""

from types import SimpleNamespace

import pytest

from dtfl_private.choosing.fresh_audit import FreshAudit, differences, next_candidate
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.trial import Leak, Measured, Rules, standing

LIMITS = parse_limits(["ssim<=0.4"])
RULES = Rules(limits=LIMITS, max_accuracy_loss=1.0, max_time_ratio=9.0)


def point(trial: int, leak: float, *, half: float = 0.0, accuracy: float = 0.5, images: int = 100) -> Measured:
    found = Leak(limit="ssim<=0.4", tier=1, source="d", value=leak, end=leak + half, other_end=leak - half, n=9)
    return Measured(
        trial=trial, rung=1, point={}, outcome="done", accuracy=accuracy, images=images, time_s=1.0, leaks=(found,)
    )


def stand(trial: int, leak: float):
    return standing(point(trial, leak), point(0, 0.9), RULES)


def test_a_difference_has_the_interval_of_two_independent_figures():
    leak, accuracy = differences(point(1, 0.2, half=0.03), point(1, 0.35, half=0.04, accuracy=0.6), LIMITS)
    assert (leak.what, leak.difference) == ("ssim<=0.4", pytest.approx(0.15))
    assert (leak.low, leak.high) == (pytest.approx(0.10), pytest.approx(0.20))
    half = 1.959964 * (0.25 / 100 + 0.24 / 100) ** 0.5
    assert accuracy.difference == pytest.approx(0.1)
    assert accuracy.high == pytest.approx(0.1 + half, abs=1e-6)


def test_what_is_not_known_has_no_difference():
    nothing = point(1, 0.2).model_copy(update={"leaks": (), "accuracy": None})
    assert [one.difference for one in differences(point(1, 0.2), nothing, LIMITS)] == [None, None]


def audited(trial: int, search: float, fresh: float, *, valid: bool = True) -> FreshAudit:
    return FreshAudit(
        chosen=stand(trial, search),
        stand=stand(trial, fresh),
        findings=SimpleNamespace(valid=valid),
        folder=None,
        differences=differences(point(trial, search), point(trial, fresh), LIMITS),
    )


def test_a_point_is_confirmed_only_by_a_valid_audit_that_finds_it_within():
    assert audited(1, 0.3, 0.35).confirmed
    assert not audited(1, 0.3, 0.45).confirmed
    assert not audited(1, 0.3, 0.35, valid=False).confirmed


def test_the_next_point_is_the_best_that_holds_by_what_the_refuted_one_taught():
    """The first leaked 0.15 more than the search saw: one at 0.35 would be beyond the limit, one at 0.2 would not."""
    refuted = audited(1, 0.38, 0.53)
    near, far, farthest = stand(2, 0.35), stand(3, 0.2), stand(4, 0.1)
    assert next_candidate([near, far, farthest], [], LIMITS) is near
    assert next_candidate([near, far, farthest], [refuted], LIMITS) is far
    assert next_candidate([near, stand(5, 0.33)], [refuted], LIMITS).measured.trial == 5
