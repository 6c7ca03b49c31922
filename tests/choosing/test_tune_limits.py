import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.attacking.base import LabelInference, MembershipInference, Reconstruction
from dtfl_private.auditing.gate import parse_gate
from dtfl_private.choosing.limits import LIMITABLE, aims_of, parse_limit, parse_limits, tiers_of
from dtfl_private.choosing.rungs import fresh_attacks, search_attacks
from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.leakage.results.result import Result


def result(metric: str, value: float, *, tier: int = 1, source: str = "decoder", half: float = 0.05) -> Result:
    return Result(
        tier=tier,
        cut=(4,),
        source=source,
        metric=metric,
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        n=10,
        seeds=1,
        adaptive=True,
    )


@pytest.mark.parametrize(
    ("text", "as_written"),
    [
        ("ssim<=0.4", "ssim<=0.4"),
        (" SSIM < 0.40 @ tier <= 2", "ssim<0.4@tier<=2"),
        ("membership_auc<=.6", "membership-auc<=0.6"),
        ("mse>=0.02", "mse>=0.02"),
        ("epsilon-labels<=3", "epsilon-labels<=3"),
    ],
)
def test_a_limit_is_read_as_it_is_written(text, as_written):
    assert str(parse_limit(text)) == as_written
    assert parse_limit(as_written) == parse_limit(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sim<=0.4", "did you mean 'ssim'"),
        ("ssim>=0.4", "asks for leakage: high values of ssim expose, write 'ssim<=0.4'"),
        ("mse<=0.02", "asks for leakage: low values of mse expose, write 'mse>=0.02'"),
        ("ssim", "in quotes"),
        ("ssim<=1e999", "beyond all numbers"),
        ("epsilon-labels<=3@tier=1", "for all tiers"),
        ("lpips>=0.1", "unknown metric"),
    ],
)
def test_another_text_is_refused_with_what_is_expected(text, says):
    with pytest.raises(InputError, match=says):
        parse_limit(text)


def test_no_limit_and_one_twice_are_refused():
    with pytest.raises(InputError, match="no limit is given"):
        parse_limits([])
    with pytest.raises(InputError, match="one of two"):
        parse_limits(["ssim<=0.4", "ssim<=0.3"])
    assert len(parse_limits(["ssim<=0.4@tier=1", "ssim<=0.3@tier=2"])) == 2


@given(
    metric=st.sampled_from(
        [name for name in LIMITABLE if not name.startswith(("epsilon-", "membership", "label", "attr"))]
    ),
    bound=st.floats(-5, 5),
    value=st.floats(-5, 5),
    half=st.floats(0, 1),
)
def test_a_limit_holds_where_the_gate_that_is_its_opposite_is_not_crossed(metric, bound, value, half):
    by_direction = [f"{metric}{sign}{bound!r}" for sign in ("<=", ">=")]
    limits = []
    for text in by_direction:
        try:
            limits.append(parse_limit(text))
        except InputError:
            continue
    (limit,) = limits
    gate = parse_gate(f"{metric}{'>' if limit.high else '<'}{bound!r}")
    found = result(metric, value, half=half)
    assert (limit.excess(limit.worse_end(found)) > 0) == bool(gate.crossed_by([found]))


def test_the_worst_attack_at_each_tier_counts_and_no_trivial_guess():
    results = [
        result("ssim", 0.3),
        result("ssim", 0.5, source="hybrid"),
        result("ssim", 0.9, source="mean-image"),
        result("ssim", 0.2, tier=2),
        result("mse", 0.9),
    ]
    worst = parse_limit("ssim<=0.4").worst(results)
    assert {tier: (one.value, one.source) for tier, one in worst.items()} == {1: (0.5, "hybrid"), 2: (0.2, "decoder")}
    assert list(parse_limit("ssim<=0.4@tier>=2").worst(results)) == [2]
    low = parse_limit("mse>=0.01").worst([result("mse", 0.2), result("mse", 0.1, source="hybrid")])
    assert low[1].source == "hybrid"


def test_a_wide_interval_is_worse_than_a_high_value():
    results = [result("ssim", 0.5, half=0.01), result("ssim", 0.4, source="hybrid", half=0.3)]
    assert parse_limit("ssim<=0.4").worst(results)[1].source == "hybrid"


def test_a_kind_of_attacks_before_the_metric_leaves_the_others_out():
    results = [
        result("accuracy", 0.9, source="attribute-inference"),
        result("accuracy", 0.3, source="label-inference"),
    ]
    assert parse_limit("label-accuracy<=0.5").worst(results)[1].source == "label-inference"
    assert parse_limit("attribute-accuracy<=0.5").worst(results)[1].value == 0.9
    assert parse_limit("accuracy<=0.5").worst(results)[1].value == 0.9


def test_what_attacks_must_be_after_follows_from_the_limits():
    limits = parse_limits(["ssim<=0.4", "psnr<=20", "auc<=0.6", "label-accuracy<=0.5", "epsilon-labels<=3"])
    assert aims_of(limits) == [Reconstruction, MembershipInference, LabelInference]


def test_conditions_on_tiers():
    assert tiers_of("all", [1, 2, 3]) == (1, 2, 3)
    assert tiers_of(">= 2", [1, 2, 3]) == (2, 3)
    assert tiers_of("=9", [1, 2, 3]) == ()
    with pytest.raises(InputError, match="expected all, or a condition"):
        tiers_of("2", [1, 2, 3])


def test_every_attack_that_a_method_lays_open_judges_its_trials():
    """Of a u-shaped split the gradients that clients return tell the labels, whatever its activations tell."""
    method = make_method("u-shaped")
    limits = parse_limits(["label-accuracy<=0.3"])
    for attacks in (
        *search_attacks(limits, [(method, False)]),
        fresh_attacks(limits, method, whole=False, input_shape=(1, 16, 16)),
    ):
        assert "label-matching" in attacks
