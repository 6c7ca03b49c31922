"""What tiers come to: the strongest attack, the words for it, and when they are used."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.significance import FALSE_ALARM_RATE, LEVEL, TESTS
from dtfl_private.verdicts.findings import LEVELS, Convergence, PsnrRise
from dtfl_private.verdicts.verdict import beats_guess, chance, p_value, strongest, tier_verdicts
from dtfl_private.verdicts.verdict_sentence import PROVEN


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
        seeds=3,
        adaptive=True,
        **{"adversary": "server-honest-but-curious", "n": 64, **values},
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
    for part in ("0.900 (0.800 to 0.950)", "a trivial guess: 0.300", "undefended: 0.990", "100%", "AUC of 0.97"):
        assert part in verdict.sentence


def test_tiers_are_judged_apart_and_in_order():
    verdicts = tier_verdicts([result("ssim", 0.1, tier=3), result("ssim", 0.9, tier=1)], valid=True)
    assert [verdict.tier for verdict in verdicts] == [1, 3]


def test_without_a_guess_to_compare_with_nothing_beats_it():
    assert not beats_guess(result("ssim", 1.0))


UNSTEADY_AUC = result("auc", 0.58, low=0.48, high=0.68, baseline=0.5, source="unsteady")
STEADY_AUC = result("auc", 0.56, low=0.53, high=0.59, baseline=0.5, source="steady")
UNSTEADY_SSIM = result("ssim", 0.844, low=0.664, high=0.936, baseline=0.712, source="unsteady")
STEADY_SSIM = result("ssim", 0.773, low=0.745, high=0.803, baseline=0.712, source="steady")


@pytest.mark.parametrize(
    ("strong", "sure"),
    [
        (UNSTEADY_AUC, STEADY_AUC),
        (UNSTEADY_SSIM, STEADY_SSIM),
        (UNSTEADY_SSIM.model_copy(update={"baseline": None}), STEADY_SSIM),
        (UNSTEADY_SSIM.model_copy(update={"baseline": 0.9}), STEADY_SSIM),
        (STEADY_SSIM.model_copy(update={"baseline": None, "source": "equal"}), STEADY_SSIM),
        (result("accuracy", 0.95, source="unsteady"), result("accuracy", 0.7, low=0.68, high=0.72, baseline=0.5)),
    ],
    ids=["auc", "ssim", "no guess", "higher guess", "equal value", "accuracy without a guess"],
)
def test_a_stronger_but_less_sure_attack_does_not_weaken_a_verdict(strong, sure):
    for results in ([sure], [strong, sure], [sure, strong]):
        (verdict,) = tier_verdicts(results, valid=True)
        assert verdict.level == "partly exposed"
        assert verdict.decided_by == sure
    (alone,) = tier_verdicts([strong], valid=True)
    assert (alone.level, alone.decided_by) == ("not shown to leak", None)


def test_the_sentence_is_of_the_strongest_and_names_what_decides():
    (verdict,) = tier_verdicts([STEADY_SSIM, UNSTEADY_SSIM], valid=True)
    assert verdict.strongest == UNSTEADY_SSIM
    assert verdict.sentence.startswith("The strongest attack, unsteady, rebuilds images with an SSIM of 0.844")
    assert "what decides is that steady rebuilds images with an SSIM of 0.773 (0.745 to 0.803)" in verdict.sentence


def test_any_identifiability_of_a_half_makes_a_tier_exposed():
    unsteady = result("identifiability", 0.9, low=0.45, high=0.99, baseline=0.1, source="unsteady")
    steady = result("identifiability", 0.8, low=0.7, high=0.9, baseline=0.1, source="steady")
    (verdict,) = tier_verdicts([unsteady, steady], valid=True)
    assert (verdict.level, verdict.decided_by) == ("exposed", steady)


def test_of_few_victims_another_metric_of_the_same_attack_makes_it_sure_that_they_are_exposed():
    """Eight of eight told apart, where the guess tells one: by itself that is a p-value of 1/256."""
    told = {"p_value": 2**-8, "advantage": 0.875, "advantage_ci_low": 0.5, "advantage_ci_high": 1.0}
    apart = result("identifiability", 1.0, low=0.63, baseline=0.125, **told)
    sharp = result("psnr", 40.0, low=35.0, high=45.0, baseline=12.0, p_value=1e-7)
    (verdict,) = tier_verdicts([apart, sharp], valid=True)
    assert (verdict.level, verdict.decided_by) == ("exposed", apart)
    for others in ([], [sharp.model_copy(update={"source": "other"})], [sharp.model_copy(update={"p_value": 0.01})]):
        (verdict,) = tier_verdicts([apart, *others], valid=True)
        assert verdict.level != "exposed"
    within = apart.model_copy(update={"advantage_ci_low": 0.0})
    (verdict,) = tier_verdicts([within, sharp], valid=True)
    assert verdict.level == "partly exposed"


@pytest.mark.parametrize("metric", PROVEN)
def test_either_bound_on_epsilon_is_a_proof_if_it_is_sure(metric):
    failed = result("ssim", 0.3, baseline=0.6)
    for by_chance, level in ((None, "partly exposed"), (LEVEL, "partly exposed"), (0.01, "not shown to leak")):
        proof = result(metric, 0.8, source="empirical-epsilon", adversary=None, p_value=by_chance)
        (verdict,) = tier_verdicts([failed, proof], valid=True)
        assert verdict.level == level
        assert ("is 0.8 at least" in verdict.sentence) == (level == "partly exposed")


def test_repeated_releases_prove_what_a_single_one_does_not():
    single = result("empirical-epsilon", 0.0, source="empirical-epsilon", adversary=None, p_value=0.4)
    several = result("empirical-epsilon-cumulated", 1.2, source="empirical-epsilon", adversary=None, p_value=1e-9)
    (verdict,) = tier_verdicts([result("ssim", 0.3, baseline=0.6), single, several], valid=True)
    assert (verdict.level, verdict.decided_by) == ("partly exposed", several)
    assert "epsilon of repeated releases is 1.2 at least" in verdict.sentence


def test_a_tier_with_a_proof_but_no_attack_gets_a_verdict():
    proof = result("empirical-epsilon", 2.5, source="empirical-epsilon", adversary=None, tier=2)
    first, second = tier_verdicts([result("ssim", 0.3, baseline=0.6), proof], valid=True)
    assert (first.tier, first.level) == (1, "not shown to leak")
    assert (second.tier, second.level, second.attack) == (2, "partly exposed", "empirical-epsilon")
    assert second.strongest == second.decided_by == proof
    assert second.sentence.startswith("No attack was judged here, but canaries prove that epsilon")
    (_, invalid) = tier_verdicts([result("ssim", 0.3, baseline=0.6), proof], valid=False)
    assert invalid.level == "invalid"
    assert not tier_verdicts([proof.model_copy(update={"value": 0.0, "ci_low": 0.0})], valid=True)


def test_an_attack_that_has_not_converged_ends_the_sentence_of_its_tier_and_changes_no_level():
    results = [result("ssim", 0.48, baseline=0.6), result("ssim", 0.9, low=0.8, high=1.0, baseline=0.6, tier=2)]
    rising = Convergence(
        tier=1,
        attack="hybrid",
        metric="ssim",
        value=0.48,
        doubled=0.512,
        margin=0.02,
        converged=False,
        remedy="--effort normal or exhaustive",
    )
    before, after = tier_verdicts(results, valid=True), tier_verdicts(results, valid=True, convergence=rising)
    assert after[0].sentence == (
        f"{before[0].sentence} Not converged: with twice the effort hybrid reaches SSIM 0.512 instead of 0.480, so it "
        "leaks at least this; audit again with --effort normal or exhaustive."
    )
    assert after[0].level == before[0].level
    assert after[1] == before[1]
    by_psnr = rising.model_copy(update={"psnr": PsnrRise(value=25.74, doubled=33.06, margin=1.0, exact=40.0)})
    assert tier_verdicts(results, valid=True, convergence=by_psnr)[0].sentence.endswith(
        "reaches SSIM 0.512 instead of 0.480 and PSNR 33.1 dB instead of 25.7 dB, so it leaks at least this; "
        "audit again with --effort normal or exhaustive."
    )
    steady = rising.model_copy(update={"converged": True})
    assert tier_verdicts(results, valid=True, convergence=steady) == before
    assert tier_verdicts(results, valid=False, convergence=rising) == tier_verdicts(results, valid=False)


def test_a_p_value_decides_where_there_is_one_together_with_the_interval_of_the_difference():
    sure = result("ssim", 0.7, baseline=0.6, p_value=LEVEL, advantage=0.1, advantage_ci_low=0.01, advantage_ci_high=0.2)
    assert beats_guess(sure)
    assert not beats_guess(sure.model_copy(update={"p_value": 2 * LEVEL}))
    assert not beats_guess(sure.model_copy(update={"advantage_ci_low": -0.01}))
    assert not beats_guess(sure.model_copy(update={"metric": "ssim-worst-5"}))


def test_files_without_p_values_have_them_from_their_intervals():
    """The normal approximation: an end of a 95 % interval that is the guess itself has 2.5 % beyond it."""
    assert p_value(result("ssim", 0.7, low=0.6, baseline=0.6)) == pytest.approx(0.025)
    assert p_value(result("mse", 0.1, high=0.2, baseline=0.2)) == pytest.approx(0.025)
    assert p_value(result("mse", 0.1, high=0.2, baseline=0.1)) == 1


@pytest.mark.parametrize("values", [{}, {"low": 0.8, "high": 0.99}, {"p_value": 1e-9}])
def test_one_victim_decides_nothing_whatever_a_file_says(values):
    of_one = [
        result(metric, 0.9, baseline=0.1, advantage=0.8, advantage_ci_low=0.7, advantage_ci_high=0.9, n=1, **values)
        for metric in ("ssim", "identifiability")
    ]
    (verdict,) = tier_verdicts(of_one, valid=True)
    assert verdict.level == "not shown to leak"
    (verdict,) = tier_verdicts([one.model_copy(update={"n": 64}) for one in of_one], valid=True)
    assert verdict.level == "exposed"


def test_the_false_alarm_rate_of_an_audit_is_that_of_its_tests_together():
    tested = [result("ssim", 0.5, baseline=0.4), result("empirical-epsilon", 0.0, adversary=None)]
    untested = [
        result("ssim-worst-5", 0.5, baseline=0.4),
        result("weight-jump", 0.5),
        result("ssim", 0.5),
        result("ssim", 0.5, baseline=0.4, source="mean-image", adversary=None),
    ]
    found = chance([*tested, *untested])
    assert (found.tests, found.level) == (2, LEVEL)
    assert found.false_alarm_rate == pytest.approx(2 * FALSE_ALARM_RATE / TESTS)
    assert chance(tested * TESTS).false_alarm_rate == pytest.approx(2 * FALSE_ALARM_RATE)


@st.composite
def results(draw):
    """Any result that an audit could have, with values from a few, so that there are equal ones."""
    few = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.55, 0.8, 1.0])
    low, value, high = sorted((draw(few), draw(few), draw(few)))
    advantage = sorted((draw(few) - 0.3, draw(few) - 0.3, draw(few) - 0.3)) if draw(st.booleans()) else [None] * 3
    return result(
        draw(st.sampled_from(["ssim", "mse", "auc", "accuracy", "identifiability", "ssim-worst-5", *PROVEN])),
        value,
        low=low,
        high=high,
        source=draw(st.sampled_from(["one", "other"])),
        tier=draw(st.integers(1, 2)),
        baseline=draw(st.none() | few),
        p_value=draw(st.none() | st.sampled_from([0.0, 1e-9, LEVEL, 0.01, 1.0])),
        advantage_ci_low=advantage[0],
        advantage=advantage[1],
        advantage_ci_high=advantage[2],
        adversary=draw(st.sampled_from(["server-malicious", None])),
    )


@settings(deadline=None)
@given(st.lists(results(), max_size=6), st.lists(results(), max_size=3), st.randoms())
def test_more_results_never_lower_a_level_and_their_order_never_matters(first, more, random):
    before = {verdict.tier: LEVELS.index(verdict.level) for verdict in tier_verdicts(first, valid=True)}
    after = tier_verdicts([*first, *more], valid=True)
    levels = {verdict.tier: LEVELS.index(verdict.level) for verdict in after}
    assert all(levels[tier] >= level for tier, level in before.items())
    shuffled = random.sample([*first, *more], len(first) + len(more))
    assert tier_verdicts(shuffled, valid=True) == after
    assert strongest(shuffled) == strongest([*first, *more])
