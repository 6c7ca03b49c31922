"""What a release leaks in each tier, on one scale from a trivial guess to the original."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.leakage_source import LeakageSource, leakage_text, parse_leakage
from dtfl_private.verdicts.tier_leakage import tier_leakage

Figure = Callable[..., Result]


@pytest.mark.parametrize(
    ("text", "path", "metric"),
    [
        ("a.json", "a.json", "ssim"),
        ("a.json:metric=mse", "a.json", "mse"),
        (" a.json : metric = SSIM_worst_5 ", "a.json", "ssim-worst-5"),
        ("runs/a,b:c/audit.json", "runs/a,b:c/audit.json", "ssim"),
        ("a:b=c.json", "a:b=c.json", "ssim"),
        ("a:metric=b/c.json:metric=auc", "a:metric=b/c.json", "auc"),
    ],
)
def test_a_source_is_read_and_written(text, path, metric):
    source = LeakageSource.parse(text)
    assert (source.audit, source.metric) == (Path(path), metric)
    assert LeakageSource.parse(str(source)) == source
    assert LeakageSource.parse(str(source.absolute())) == source.absolute()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected AUDIT.json[:metric=NAME]"),
        ("a.json:metric=sim", "'sim': did you mean 'ssim'?"),
        ("a.json:metric=dfil", "unknown metric with a scale in leakage_from 'dfil'"),
        ("a.json:metric=", "unknown metric with a scale in leakage_from ''"),
    ],
)
def test_another_source_is_refused(text, said):
    with pytest.raises(InputError) as refused:
        LeakageSource.parse(text)
    assert said in str(refused.value)


def test_it_is_the_share_of_the_way_from_the_trivial_guess_to_the_original(figure: Figure):
    results = [
        figure(1, 0.58, baseline=0.2, baseline_name="class-mean"),  # 0.60 at its upper end
        figure(2, 0.15, baseline=0.2),  # no better than the guess
        figure(3, 1.0, baseline=0.2, ci_high=1.02),  # beyond what there can be
        figure(4, 0.3),  # no guess is known: from the least SSIM that there can be, -1
        figure(5, 0.3, baseline=1.0),  # the guess is the original
    ]
    assert tier_leakage(results, "ssim") == pytest.approx({1: 0.5, 2: 0.0, 3: 1.0, 4: 1.32 / 2, 5: 0.0}, abs=2e-6)


def test_low_values_count_by_their_lower_end(figure: Figure):
    mse = figure(1, 0.07, metric="mse", baseline=0.1)  # 0.05 at its lower end, half of the way to 0
    assert tier_leakage([mse], "mse") == {1: pytest.approx(0.5)}


def test_the_largest_of_all_that_a_budget_counts_is_taken_and_rounded_up(figure: Figure):
    results = [
        figure(1, 0.5, baseline=0.2),
        figure(1, 0.78, baseline=0.2, source="hybrid"),  # 0.8: three quarters
        figure(1, 0.9, baseline=0.2, source="nearest-auxiliary"),  # a trivial guess
        figure(1, 0.9, baseline=0.2, adversary="server-malicious"),  # obeys no budget
        figure(1, 0.9, baseline=0.2, metric="ssim-worst-5"),
        figure(2, 1 / 3, baseline=0.1, ci_high=1 / 3),
    ]
    leakage = tier_leakage(results, "ssim")
    assert leakage[1] == 0.75 or leakage[1] == 0.750001
    assert leakage[2] == 0.25926  # 7/27 is 0.259259...


@given(st.dictionaries(st.integers(1, 999), st.floats(0, 1), min_size=1, max_size=9))
def test_leakages_are_read_as_they_are_written(leakage: dict[int, float]):
    text = leakage_text(leakage)
    assert parse_leakage(text) == pytest.approx(leakage)
    assert leakage_text(parse_leakage(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected TIER=LEAKAGE,..."),
        ("1", "expected TIER=LEAKAGE,... with a leakage from 0 to 1"),
        ("0=0.5", "not '0=0.5'"),
        ("1=1.5", "not '1=1.5'"),
        ("1=nan", "not '1=nan'"),
        ("1=-0.1", "not '1=-0.1'"),
        ("²=0.1", "not '²=0.1'"),
        ("1=0.5,01=0.5", "tier 1 is there twice"),
        (",".join(f"{tier}=0" for tier in range(1, 1002)), "names 1001 tiers: expected at most 1000"),
    ],
)
def test_another_form_of_leakages_is_refused(text, said):
    with pytest.raises(InputError) as refused:
        parse_leakage(text)
    assert said in str(refused.value)
