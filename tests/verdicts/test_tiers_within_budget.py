from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.leakage.metrics import METRICS
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Findings, SanityCheck
from dtfl_private.verdicts.leakage_budget import LeakageBudget
from dtfl_private.verdicts.tiers_within_budget import feasible_limit, measured, tiers_within

Figure = Callable[..., Result]
FindingsOf = Callable[..., Findings]

FAILED = SanityCheck(name="identity", attack="decoder", metric="ssim", value=0.3, needed=0.99, passed=False)


@pytest.mark.parametrize(
    ("text", "path", "metric", "limit"),
    [
        ("a.json:max=0.4", "a.json", "ssim", 0.4),
        ("a.json:metric=ssim,max=0.4", "a.json", "ssim", 0.4),
        (" a.json : max = 1e-1 , metric = SSIM ", "a.json", "ssim", 0.1),
        ("runs/a,b:c/audit.json:metric=mse,min=0.02", "runs/a,b:c/audit.json", "mse", 0.02),
        ("a:b=c.json:max=1", "a:b=c.json", "ssim", 1),
        ("C:/x.json:metric=mse_worst_5,min=0", "C:/x.json", "mse-worst-5", 0),
        ("a.json:metric=psnr,max=-3", "a.json", "psnr", -3),
    ],
)
def test_a_budget_is_read_and_written(text, path, metric, limit):
    budget = LeakageBudget.parse(text)
    assert (budget.audit, budget.metric, budget.limit) == (Path(path), metric, limit)
    assert LeakageBudget.parse(str(budget)) == budget
    assert LeakageBudget.parse(str(budget.absolute())) == budget.absolute()


@pytest.mark.parametrize("text", [" " * 30_000, "a" + " " * 1_000_000 + "b", "a:" + "b=c," * 100_000 + ":"])
def test_a_text_that_is_no_budget_is_refused_however_long_it_is(text):
    """A search that goes back and forth over such a text would not end."""
    with pytest.raises(InputError, match="is refused: expected AUDIT"):
        LeakageBudget.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected AUDIT.json:metric=NAME,max=X"),
        ("a.json", "expected AUDIT.json:metric=NAME,max=X"),
        (":max=1", "expected AUDIT.json:metric=NAME,max=X"),
        ("a.json:0.4", "expected AUDIT.json:metric=NAME,max=X"),
        ("a.json:max=", "expected AUDIT.json:metric=NAME,max=X"),
        ("a.json:max=1,max=2", "each key once"),
        ("a.json:maximum=1", "unknown setting of the leakage budget 'maximum': did you mean 'max'?"),
        ("a.json:metric=sim,max=1", "'sim': did you mean 'ssim'?"),
        ("a.json:metric=ssim", "high values of ssim expose, so give max=X"),
        ("a.json:min=0.4", "high values of ssim expose, so give max=X, not min="),
        ("a.json:metric=mse,max=0.4", "low values of mse expose, so give min=X, not max="),
        ("a.json:min=0.1,max=0.4", "ssim has one limit"),
        ("a.json:max=low", "max=low is no number"),
        ("a.json:max=nan", "max=nan is no number"),
        ("a.json:max=inf", "max=inf is no number"),
    ],
)
def test_a_wrong_budget_is_refused_in_one_line(text, said):
    with pytest.raises(InputError) as refused:
        LeakageBudget.parse(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5)), max_size=12),
    st.sampled_from(["ssim", "mse"]),
    st.floats(-1.5, 1.5),
    st.lists(st.integers(1, 6), unique=True, min_size=1).map(sorted),
)
def test_those_tiers_are_allowed_of_which_every_interval_is_within(drawn, metric, limit, in_use):
    budget = LeakageBudget(audit=Path("a.json"), metric=metric, limit=limit)
    results = [result(tier, value, value - below, value + above, metric) for tier, value, below, above in drawn]
    results.append(result(6, 0.0, 0.0, 0.0, "psnr"))  # not of this metric
    expected = []
    for tier in in_use:
        own = [each for each in results if each.tier == tier and each.metric == metric]
        within = [each.ci_high <= limit if metric == "ssim" else each.ci_low >= limit for each in own]
        if own and all(within):
            expected.append(tier)
    audit = audit_of(results)
    if expected:
        assert list(tiers_within(budget, audit, in_use)) == expected
    else:
        with pytest.raises(InputError) as refused:
            tiers_within(budget, audit, in_use)
        assert "\n" not in str(refused.value)
        if "feasible" in str(refused.value):
            # The named limit is feasible, and 0.002 below it nothing is.
            named = float(str(refused.value).rpartition("=")[2].removesuffix(" is feasible"))
            step = 0.002 if metric == "ssim" else -0.002
            tiers_within(LeakageBudget(audit=Path("a.json"), metric=metric, limit=named), audit, in_use)
            with pytest.raises(InputError, match="is feasible"):
                tiers_within(LeakageBudget(audit=Path("a.json"), metric=metric, limit=named - step), audit, in_use)


def result(tier: int, value: float, low: float, high: float, metric: str) -> Result:
    ends = {"ci_low": low, "ci_high": high}
    return Result(tier=tier, cut=(1,), source="a", metric=metric, value=value, n=1, seeds=1, adaptive=True, **ends)


def audit_of(results: list[Result]) -> Findings:
    return Findings.model_construct(valid=True, results=tuple(results), as_scheduled=())


def test_tiers_need_not_follow_one_another(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.3), figure(2, 0.9), figure(4, 0.1), figure(4, 0.35, source="hybrid")])
    assert tiers_within(LeakageBudget.parse("a.json:max=0.4"), findings, [1, 2, 3, 4]) == (1, 4)
    assert tiers_within(LeakageBudget.parse("a.json:max=0.36"), findings, [1, 2, 3, 4]) == (1,)


def test_trivial_guesses_and_servers_that_obey_no_budget_do_not_count(figure: Figure):
    guess = figure(2, 0.9, source="class-mean", adversary=None)
    downgrade = figure(2, 0.99, source="tier-downgrade", adversary="server-malicious", cut=(16, 8, 8))
    assert measured([figure(2, 0.2), guess, downgrade], "ssim") == {2: pytest.approx(0.22)}
    assert measured([guess, downgrade], "ssim") == {}
    # Who is not known here, or is a measure, counts: that is the safe side.
    assert measured([figure(2, 0.5, adversary="somebody"), figure(2, 0.7, adversary=None)], "ssim") == {
        2: pytest.approx(0.72)
    }


def test_an_infeasible_budget_comes_with_the_nearest_feasible_one(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.9), figure(3, 0.2101)])
    with pytest.raises(InputError) as refused:
        tiers_within(LeakageBudget.parse("a.json:max=0.1"), findings, [1, 2, 3])
    assert str(refused.value) == (
        "leakage budget: none of tiers 1, 2, 3 is within ssim at most 0.1 (worst end of the intervals in a.json; "
        "tier 2 not measured); the least leaky is tier 3 with 0.231: max=0.231 is feasible"
    )
    with pytest.raises(InputError, match=r"the least leaky is tier 1 with 0\.920: max=0\.920 is feasible"):
        tiers_within(LeakageBudget.parse("a.json:max=0.1"), findings, [1, 2])
    with pytest.raises(InputError, match=r"has no ssim of an attack .* at tier 2: audit them"):
        tiers_within(LeakageBudget.parse("a.json:max=0.1"), findings, [2])


@given(leakage=st.floats(-5, 5), name=st.sampled_from(sorted(METRICS)))
@example(leakage=1e40, name="ssim")
@example(leakage=-1e300, name="mse")
def test_a_feasible_limit_is_one(leakage, name):
    metric = METRICS[name]
    limit = float(feasible_limit(metric, leakage))
    assert LeakageBudget(audit=Path("a"), metric=name, limit=limit).holds(leakage)
    assert abs(limit - leakage) <= 1.001 * 10**-metric.digits


def test_an_invalid_audit_allows_nothing(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.1)], valid=False, sanity=(FAILED,))
    with pytest.raises(InputError, match=r"audit a\.json is invalid .*identity.* proves nothing"):
        tiers_within(LeakageBudget.parse("a.json:max=0.4"), findings, [1])
