from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.auditing.compared_audits import apart, compare_findings, require_comparable, unequal_terms
from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Comparison, Findings

Figure = Callable[..., Result]
FindingsOf = Callable[..., Findings]


@pytest.fixture
def plain(figure: Figure, findings_of: FindingsOf) -> Findings:
    strongest = (figure(1, 0.9), figure(1, 0.01, metric="mse", ci_low=0.009, ci_high=0.011), figure(3, 0.4))
    others = (figure(1, 0.7, source="optimization"), figure(1, 0.3, source="mean-image", adversary=None))
    measure = figure(1, 0.8, source="distance-correlation", metric="dcor-squared", adversary=None)
    return findings_of([*strongest, *others, measure], strongest=strongest, run="runs/plain")


@pytest.fixture
def defended(figure: Figure, findings_of: FindingsOf) -> Findings:
    strongest = (figure(1, 0.5, source="hybrid"), figure(2, 0.3), figure(3, 0.41))
    measure = figure(1, 0.79, source="distance-correlation", metric="dcor-squared", adversary=None)
    other = figure(1, 0.1, source="other-measure", metric="dcor-squared", adversary=None)
    return findings_of(
        [*strongest, measure, other], strongest=strongest, run="runs/defended", defense=("gaussian-noise",), victims=50
    )


def keys(comparison: Comparison) -> list[tuple[int, str, str, str, bool]]:
    return [(row.tier, row.metric, row.this.source, row.other.source, row.apart) for row in comparison.rows]


def test_strongest_attacks_and_measures_are_compared(plain: Findings, defended: Findings):
    comparison = compare_findings(plain, defended)
    assert keys(comparison) == [
        (1, "dcor-squared", "distance-correlation", "distance-correlation", False),
        (1, "ssim", "decoder", "hybrid", True),
        (3, "ssim", "decoder", "decoder", False),
    ]
    assert (comparison.run, comparison.training) == ("runs/defended", defended.training)


def test_a_comparison_is_the_other_one_with_the_sides_swapped(plain: Findings, defended: Findings):
    there, back = compare_findings(plain, defended), compare_findings(defended, plain)
    swapped = [row.model_copy(update={"this": row.other, "other": row.this}) for row in back.rows]
    assert list(there.rows) == swapped


def test_an_audit_compared_with_itself_has_all_its_figures_and_none_apart(plain: Findings):
    comparison = compare_findings(plain, plain)
    assert len(comparison.rows) == 4
    assert all(row.this == row.other and not row.apart for row in comparison.rows)
    assert unequal_terms(plain, plain) == []


ENDS = st.tuples(*[st.integers(0, 10)] * 2).map(sorted)


@given(one=ENDS, other=ENDS)
def test_intervals_are_apart_if_they_share_no_point(one, other, figure: Figure):
    first, second = (figure(1, (low + high) / 2, ci_low=low, ci_high=high) for low, high in (one, other))
    share = bool(set(range(one[0], one[1] + 1)) & set(range(other[0], other[1] + 1)))
    measured = one[0] < one[1] or other[0] < other[1]  # two figures without intervals: nothing is known
    assert apart(first, second) == apart(second, first) == (measured and not share)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataset": "digits"}, "of data set 'digits', this one of 'patterns'"),
        ({"model": "resnet-8"}, "of model 'resnet-8', this one of 'tiny'"),
        ({"valid": False}, "is invalid"),
    ],
)
def test_what_proves_nothing_or_is_of_something_else_is_refused(values, said, plain: Findings, findings_of: FindingsOf):
    other = findings_of(run="runs/b", **values)
    with pytest.raises(InputError, match=said) as refused:
        compare_findings(plain, other)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=said):
        require_comparable(plain.training, other)
    with pytest.raises(InputError):
        compare_findings(other, plain)


def test_audits_of_another_layout_are_refused(plain: Findings):
    with pytest.raises(InputError, match="schema_version 1, this one 2"):
        require_comparable(plain.training, plain, 2)


def test_what_else_differs_is_said(plain: Findings, defended: Findings, findings_of: FindingsOf):
    assert unequal_terms(plain, defended) == ["victims: 100 here, 50 there"]
    assert unequal_terms(plain, findings_of(norm="group", run="c")) == ["norm: batch here, group there"]
    assumed = plain.model_copy(update={"assumed": ("secure-aggregation",)})
    assert unequal_terms(plain, assumed) == ["assumed: nothing here, secure-aggregation there"]
