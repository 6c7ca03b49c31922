import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.auditing.gate import Gate, parse_gate, require_gates
from dtfl_private.cli import main as cli
from dtfl_private.errors import GateCrossedError, InputError
from dtfl_private.leakage.metrics import METRICS
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Findings, SanityCheck

Figure = Callable[..., Result]
FindingsOf = Callable[..., Findings]

COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
FAILED = SanityCheck(name="md1", attack="decoder", metric="ssim", value=0.3, needed=0.9, passed=False)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("ssim>0.5", Gate(metric="ssim", comparison=">", limit=0.5)),
        (" SSIM  >= .5 ", Gate(metric="ssim", comparison=">=", limit=0.5)),
        ("mse<1e-2", Gate(metric="mse", comparison="<", limit=0.01)),
        ("psnr>20.@tier<=2", Gate(metric="psnr", comparison=">", limit=20, tier_comparison="<=", tier=2)),
        ("ssim > 0.5 @ tier = 3", Gate(metric="ssim", comparison=">", limit=0.5, tier_comparison="=", tier=3)),
        ("auc>=-0.1@tier==1", Gate(metric="auc", comparison=">=", limit=-0.1, tier_comparison="==", tier=1)),
        ("mse_worst_5<=0.1", Gate(metric="mse-worst-5", comparison="<=", limit=0.1)),
        ("tpr-at-fpr-0.001>.1", Gate(metric="tpr-at-fpr-0.001", comparison=">", limit=0.1)),
    ],
)
def test_a_gate_is_read(text, gate):
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected METRIC>NUMBER"),
        ("ssim", "put it in quotes"),
        ("ssim>", "expected METRIC>NUMBER"),
        ("ssim=0.5", "expected METRIC>NUMBER"),
        ("ssim>0.5@tier", "expected METRIC>NUMBER"),
        ("ssim>0.5@tier<1.5", "expected METRIC>NUMBER"),
        ("ssim>0.5@client<2", "expected METRIC>NUMBER"),
        ("ssim>nan", "expected METRIC>NUMBER"),
        ("ssim>1e999", "beyond all numbers"),
        ("ssim>0.5,mse<1", "expected METRIC>NUMBER"),
        ("0.5<ssim", "expected METRIC>NUMBER"),
        ("ssmi>0.5", "unknown metric in gate 'ssmi>0.5' 'ssmi': did you mean 'ssim'?"),
    ],
)
def test_a_wrong_gate_is_refused_in_one_line(text, said):
    with pytest.raises(InputError) as refused:
        parse_gate(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_measures_metric_may_be_named_if_results_can_have_it(figure: Figure):
    gate = parse_gate("dcor-squared>0.5", [*METRICS, "dcor-squared"])
    measure = figure(1, 0.6, metric="dcor-squared", source="distance-correlation", adversary=None)
    assert gate.crossed_by([measure]) == [measure]
    with pytest.raises(InputError, match="unknown metric"):
        parse_gate("dcor-squared>0.5", ["ssim"])


@given(
    comparison=st.sampled_from(sorted(COMPARE)),
    limit=st.floats(-2, 2),
    ends=st.tuples(*[st.integers(-20, 20).map(lambda tenth: tenth / 10)] * 3).map(sorted),
    tier_comparison=st.sampled_from(["", "<", "<=", ">", ">=", "=", "=="]),
    tier=st.integers(1, 4),
)
def test_a_gate_is_crossed_if_something_within_the_interval_crosses(
    comparison, limit, ends, tier_comparison, tier, figure: Figure
):
    low, value, high = ends
    at = f"@tier{tier_comparison}{tier}" if tier_comparison else ""
    gate = parse_gate(f"ssim{comparison}{limit:.15g}{at}")
    assert parse_gate(str(gate)) == gate
    # By brute force: each point of the interval that could decide.
    crosses = any(COMPARE[comparison](point, gate.limit) for point in (low, value, high))
    tiers = {"": [1, 2, 3], "<": range(1, tier), "<=": range(1, tier + 1), ">": range(tier + 1, 4)}
    tiers |= {">=": range(tier, 4), "=": [tier], "==": [tier]}
    results = [figure(at, value, ci_low=low, ci_high=high) for at in (1, 2, 3)]
    judged = [result for result in results if result.tier in tiers[tier_comparison]]
    if not judged:
        with pytest.raises(InputError, match="nothing to judge by"):
            gate.crossed_by(results)
    else:
        assert gate.crossed_by(results) == (judged if crosses else [])


def test_trivial_guesses_never_cross_and_are_nothing_to_judge_by(figure: Figure):
    guess = figure(1, 0.9, source="nearest-auxiliary", adversary=None)
    attack = figure(1, 0.3)
    assert parse_gate("ssim>0.5").crossed_by([guess, attack]) == []
    with pytest.raises(InputError, match=r"gate ssim>0.5 has nothing to judge by"):
        parse_gate("ssim>0.5").crossed_by([guess])


def test_gates_that_hold_let_an_audit_pass(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.93), figure(2, 0.5), figure(3, 0.2)])
    require_gates([], findings)
    require_gates([parse_gate("ssim>0.96"), parse_gate("ssim>0.3@tier=3")], findings)


def test_a_gate_does_not_pass_at_a_tier_that_was_not_audited(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.93), figure(3, 0.2)])
    with pytest.raises(InputError, match=r"gate ssim>0.96 has nothing to judge by at tier 2"):
        require_gates([parse_gate("ssim>0.96")], findings)
    require_gates([parse_gate("ssim>0.96@tier>=3")], findings)


def test_clients_as_scheduled_count(figure: Figure, findings_of: FindingsOf):
    placed = findings_of([figure(1, 0.5), figure(2, 0.4), figure(3, 0.3)])
    findings = placed.model_copy(update={"as_scheduled": (figure(3, 0.9),)})
    require_gates([parse_gate("ssim>0.6")], placed)
    with pytest.raises(GateCrossedError, match="tier 3"):
        require_gates([parse_gate("ssim>0.6")], findings)


def test_each_crossing_has_a_line(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.93, source="hybrid"), figure(2, 0.49), figure(3, 0.2)])
    gates = [parse_gate("ssim > 0.5 @ tier <= 2"), parse_gate("ssim>0.3@tier>2"), parse_gate("mse<0.1")]
    with pytest.raises(GateCrossedError) as crossed:
        require_gates(gates, findings)
    assert crossed.value.lines == (
        "gate ssim>0.5@tier<=2 crossed: tier 1, hybrid: ssim 0.930 (0.910 to 0.950)",
        "gate ssim>0.5@tier<=2 crossed: tier 2, decoder: ssim 0.490 (0.470 to 0.510): not the value, but its interval "
        "reaches beyond",
        "gate mse<0.1 has nothing to judge by: no attack or measure has a result with this metric",
    )


def test_without_a_result_to_judge_by_no_gate_passes(figure: Figure, findings_of: FindingsOf):
    with pytest.raises(InputError, match=r"gate ssim>0.5@tier>4 has nothing .* at such a tier"):
        require_gates([parse_gate("ssim>0.99"), parse_gate("ssim>0.5@tier>4")], findings_of([figure(1, 0.1)]))


def test_an_invalid_audit_lets_no_gate_pass(figure: Figure, findings_of: FindingsOf):
    findings = findings_of([figure(1, 0.1)], valid=False, sanity=(FAILED,))
    with pytest.raises(GateCrossedError, match=r"gate ssim>0\.5 crossed: the audit is invalid .*md1"):
        require_gates([parse_gate("ssim>0.5")], findings)
    require_gates([], findings)


def test_a_crossed_gate_ends_a_command_with_status_3_and_its_lines(monkeypatch, capsys):
    def crosses(**_: object) -> None:
        raise GateCrossedError(["gate a crossed:\n one", "gate b crossed: two"])

    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    monkeypatch.setattr("dtfl_private.cli.group.cli.main", crosses)
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 3
    assert capsys.readouterr().err == "gate a crossed: one\ngate b crossed: two\n"
