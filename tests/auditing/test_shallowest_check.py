from dtfl_private.plugins.registry import create


def test_sanity_is_checked_at_md1_even_if_it_is_not_audited(trained, examine):
    findings = examine(trained(), tiers=(3,), seeds=1).findings
    assert {check.name for check in findings.sanity} == {"identity", "md1"}
    assert {result.tier for result in findings.results} == {3}


def test_md1_is_checked_without_an_undefended_run_too(trained, examine):
    noise = [create("defense", "gaussian-noise:sd=50.0")]
    findings = examine(trained(defenses=noise), defenses=noise, undefended="none", tiers=(1,)).findings
    assert findings.training.undefended_accuracy is None
    own = max(r.value for r in findings.results if (r.metric, r.source) == ("ssim", "least-squares"))
    (check,) = [check for check in findings.sanity if check.name == "md1"]
    assert check.value > own
    assert {"the run without defenses", "statistics of the images"} <= {one.what for one in findings.not_tested}
    assert "statistics" in {said.what for said in findings.guarantees}
