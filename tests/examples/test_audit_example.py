from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dtfl_private import AuditConfig, InputError, TrainConfig
from dtfl_private.attacking import runner as attacking
from dtfl_private.auditing import written_audit
from dtfl_private.leakage.measures.distance_correlation import DistanceCorrelation
from dtfl_private.report.html import page
from dtfl_private.verdicts.findings_file import read_findings
from examples.audit_two_defenses import DEFENSES, PLAIN, Examined, best_of, gate_lines, main, within_budget

RUN = TrainConfig(
    dataset="digits:size=8", max_train_images=120, clients=3, rounds=2, batch_size=8, lr=0.01, device="cpu", workers=1
)
# 40 steps are enough for the sanity checks.
ATTACK = "optimization:steps=40,smoothness=0.0001,lr=0.1"
AUDIT = AuditConfig(
    attacks=(ATTACK,), tiers=(1,), victims=8, aux_images=60, seeds=1, measured=100, device="cpu", workers=1
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the example printed and returned, and its folder."""

    text: str
    examined: dict[str, Examined]
    out: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Shown:
    """The example in a tiny setting, without pictures, with one measure that takes no time."""
    out = tmp_path_factory.mktemp("example")
    quick = {"distance-correlation": DistanceCorrelation(permutations=19)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attacking, "save_pictures", lambda *_: [])
        patch.setattr(written_audit, "audit_pictures", lambda _: {})
        for picture in ("by_tier_picture", "accuracy_leakage_picture"):
            patch.setattr(page, picture, lambda *_, **__: b"<svg/>")
        for module in ("audit_plan", "measuring"):
            patch.setattr(f"dtfl_private.auditing.{module}.MEASURES", quick)
        text = StringIO()
        examined = main(out, RUN, AUDIT, Console(width=200, file=text))
        yield Shown(text=text.getvalue(), examined=examined, out=out)


def test_each_run_is_compared_with_the_undefended_one_which_is_trained_once(shown):
    assert list(shown.examined) == list(DEFENSES)
    plain = shown.examined[PLAIN].findings
    for name, one in shown.examined.items():
        assert one.findings.valid
        assert list(one.findings.training.defense) == list(one.run.config.defense)
        assert not (shown.out / name / "audit" / "undefended").exists()
        assert one.findings == read_findings(one.audit.path)
    noise = shown.examined["gaussian-noise"].findings
    assert noise.training.undefended_accuracy == plain.training.test_accuracy
    # The undefended run of one audit is the run of the other.
    defended, alone = (best_of(found.strongest, 1, "ssim") for found in (noise, plain))
    assert defended.undefended == pytest.approx(alone.value)
    assert defended.ci_high < alone.ci_low


def test_the_table_shows_what_the_audits_found(shown):
    (noise,) = [line for line in shown.text.splitlines() if line.startswith(" gaussian-noise ")]
    found = shown.examined["gaussian-noise"].findings
    ssim, dcor = best_of(found.strongest, 1, "ssim"), best_of(found.results, 1, "dcor-squared")
    figures = f"{ssim.value:.2f}", f"{ssim.ci_low:.2f} to {ssim.ci_high:.2f}", f"{dcor.value:.2f}"
    for cell in (f"{found.training.test_accuracy:.4f}", "optimization", *figures, found.verdict[0].level):
        assert cell in noise
    for one in shown.examined.values():
        assert one.audit.report.is_file()
        assert f": {one.audit.report}\n" in shown.text


def test_a_gate_tells_the_runs_apart(shown):
    plain, noise = (shown.examined[name].findings for name in (PLAIN, "gaussian-noise"))
    line, *scheduled = gate_lines(plain, "ssim>0.9@tier=1")
    assert line.startswith("gate ssim>0.9@tier=1 crossed: tier 1, optimization: ssim ")
    assert all("as scheduled" in other for other in scheduled)
    assert gate_lines(noise, "ssim>0.9@tier=1") == ["gate ssim>0.9@tier=1 holds"]


def test_a_budget_leaves_the_tiers_that_were_measured_to_be_within_it(shown):
    plain = shown.examined[PLAIN].audit
    assert "within the budget: leakage budget: none of tiers 1, 2, 3, 4 is within ssim at most 0.9" in shown.text
    with pytest.raises(InputError, match="none of tiers"):
        within_budget(shown.out, RUN, plain)
    run = within_budget(shown.out, RUN, plain, "metric=ssim,max=1")
    assert {tier for record in run.records for tier in record["tiers"].values()} == {1}
