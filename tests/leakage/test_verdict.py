"""What tiers come to: the strongest attack, the words for it, and when they are used."""

import pytest

from dtfl_private.leakage.result import Result
from dtfl_private.leakage.verdict import beats_guess, strongest, tier_verdicts


def result(metric, value, *, source="hybrid", tier=1, low=None, high=None, baseline=None, **values):
    return Result(
        tier=tier,
        cut=(4, 2, 2),
        source=source,
        metric=metric,
        value=value,
        ci_low=value if low is None else low,
        ci_high=value if high is None else high,
        baseline=baseline,
        n=64,
        seeds=3,
        adaptive=True,
        **{"adversary": "server-honest-but-curious", **values},
    )


def test_the_strongest_exposes_most_whichever_way_a_metric_points():
    found = strongest(
        [
            result("ssim", 0.5, source="weak"),
            result("ssim", 0.9, source="strong"),
            result("mse", 0.1, source="weak"),
            result("mse", 0.01, source="strong"),
        ]
    )
    assert {(one.metric, one.source) for one in found} == {("ssim", "strong"), ("mse", "strong")}


def test_guesses_measures_and_visibility_are_no_attacks():
    assert not strongest(
        [
            result("ssim", 0.9, source="class-mean", adversary=None),
            result("effective-rank", 9.0, source="effective-rank", adversary=None),
            result("weight-jump", 3.0, source="weight-trap"),
        ]
    )


def test_accuracies_are_compared_by_what_they_are_above_their_guess():
    label = result("accuracy", 0.9, source="label-inference", baseline=0.9)
    brightness = result("accuracy", 0.7, source="attribute-inference", baseline=0.5)
    assert strongest([label, brightness]) == [brightness]


@pytest.mark.parametrize(
    ("results", "level"),
    [
        ([result("identifiability", 0.8, low=0.5, baseline=0.1)], "exposed"),
        ([result("identifiability", 0.8, low=0.49, baseline=0.1)], "partly exposed"),
        ([result("identifiability", 0.2, low=0.1, baseline=0.1)], "not shown to leak"),
        ([result("mse", 0.01, high=0.02, baseline=0.03)], "partly exposed"),
        ([result("mse", 0.01, high=0.03, baseline=0.03)], "not shown to leak"),
        ([result("auc", 0.7, low=0.6, baseline=0.5)], "partly exposed"),
        ([result("ssim", 0.9)], "not shown to leak"),
    ],
)
def test_the_words_follow_from_the_intervals(results, level):
    (verdict,) = tier_verdicts(results, valid=True)
    assert verdict.level == level
    (invalid,) = tier_verdicts(results, valid=False)
    assert invalid.level == "invalid"
    assert "proves nothing" in invalid.sentence


def test_proven_leakage_is_leakage_whatever_attacks_got():
    failed = result("ssim", 0.3, baseline=0.6)
    proven = result("empirical-epsilon", 2.5, source="empirical-epsilon", adversary=None)
    (verdict,) = tier_verdicts([failed, proven], valid=True)
    assert verdict.level == "partly exposed"
    assert "epsilon of the smashed data is 2.5 at least" in verdict.sentence
    nothing = proven.model_copy(update={"value": 0.0, "ci_low": 0.0})
    (verdict,) = tier_verdicts([failed, nothing], valid=True)
    assert verdict.level == "not shown to leak"


def test_a_verdict_names_what_it_is_about():
    (verdict,) = tier_verdicts(
        [
            result("ssim", 0.9, low=0.8, high=0.95, baseline=0.3, undefended=0.99),
            result("psnr", 20.0, source="decoder"),
            result("identifiability", 1.0, source="decoder"),
            result("auc", 0.97, source="membership-matching"),
        ],
        valid=True,
    )
    assert verdict.attack == "hybrid"
    assert verdict.strongest.metric == "ssim"
    for part in ("0.900 (0.800 to 0.950)", "smashed data: 0.300", "undefended: 0.990", "100%", "AUC of 0.97"):
        assert part in verdict.sentence


def test_tiers_are_judged_apart_and_in_order():
    verdicts = tier_verdicts([result("ssim", 0.1, tier=3), result("ssim", 0.9, tier=1)], valid=True)
    assert [verdict.tier for verdict in verdicts] == [1, 3]


def test_without_a_guess_beside_it_nothing_beats_it():
    assert not beats_guess(result("ssim", 1.0))
