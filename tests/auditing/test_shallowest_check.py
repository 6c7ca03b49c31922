import pytest
from audit_progress import HeardJobs

from dtfl_private.auditing import shallowest_check
from dtfl_private.plugins.registry import create


def test_sanity_is_checked_at_md1_even_if_it_is_not_audited(trained, examine):
    findings = examine(trained(), tiers=(3,), seeds=1).findings
    assert {check.name for check in findings.sanity} == {"identity", "md1"}
    assert {result.tier for result in findings.results} == {3}


@pytest.mark.parametrize("defenses", [[], [create("defense", "gaussian-noise:sd=50.0")]], ids=["plain", "defended"])
def test_an_attack_that_fails_at_md1_ends_the_audit_before_any_tier_is_attacked(
    defenses, trained, examine, monkeypatch
):
    monkeypatch.setattr(shallowest_check, "SHALLOWEST_SSIM", 1.0)
    heard = HeardJobs()
    done = examine(trained(defenses=defenses), defenses=defenses or None, callbacks=[heard])
    assert list(heard.kept) == [
        "least-squares, sanity check on the identity",
        "least-squares, tier 1, seed 0, sanity check at md1",
    ]
    findings = done.findings
    assert [(check.name, check.passed) for check in findings.sanity] == [("identity", True), ("md1", False)]
    assert (findings.valid, findings.verdict, findings.results) == (False, (), ())
    (left_out,) = findings.not_tested
    assert left_out.why.startswith("the sanity check at md1 failed: ")
    assert "What to try</dt><dd>more effort" in done.report.read_text()


def test_the_guess_at_md1_of_a_run_without_defenses_is_that_of_the_audit(trained, examine):
    heard = HeardJobs()
    examine(trained(), tiers=(1,), seeds=2, callbacks=[heard])
    assert heard.kept["least-squares, tier 1, seed 0, sanity check at md1"] == [False]
    assert heard.kept["least-squares, tier 1, seed 0"] == [True]
    assert heard.kept["least-squares, tier 1, seed 1"] == [False]


def test_md1_is_checked_without_an_undefended_run_too(trained, examine):
    noise = [create("defense", "gaussian-noise:sd=50.0")]
    findings = examine(trained(defenses=noise), defenses=noise, undefended="none", tiers=(1,)).findings
    assert findings.training.undefended_accuracy is None
    own = max(r.value for r in findings.results if (r.metric, r.source) == ("ssim", "least-squares"))
    (check,) = [check for check in findings.sanity if check.name == "md1"]
    assert check.value > own
    assert {"the run without defenses", "statistics of the images"} <= {one.what for one in findings.not_tested}
    assert "statistics" in {said.what for said in findings.guarantees}
