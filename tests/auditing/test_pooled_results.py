import json

import pytest

from dtfl_private.auditing.pooled_results import pooled
from dtfl_private.leakage.results.result import Result


def test_of_several_trainings_the_least_sure_counts():
    one = Result(
        tier=1,
        cut=(1,),
        source="a",
        metric="ssim",
        value=0.5,
        ci_low=0.4,
        ci_high=0.6,
        baseline=0.3,
        advantage=0.2,
        advantage_ci_low=0.1,
        advantage_ci_high=0.3,
        p_value=1e-9,
        n=8,
        seeds=1,
        adaptive=True,
    )
    other = one.model_copy(update={"advantage": 0.1, "advantage_ci_low": -0.1, "p_value": 0.2})
    (both,) = pooled([[one, other.model_copy(update={"metric": "psnr"})], [other]])
    assert (both.p_value, both.advantage_ci_low, both.advantage_ci_high) == (0.2, -0.1, 0.3)
    assert both.advantage == pytest.approx(0.15)
    (older,) = pooled([[one], [other.model_copy(update={"p_value": None})]])
    assert older.p_value is None


def test_what_only_one_training_has_is_not_pooled():
    one = Result(
        tier=1, cut=(1,), source="a", metric="ssim", value=0.5, ci_low=0.4, ci_high=0.6, n=8, seeds=1, adaptive=True
    )
    other = one.model_copy(update={"metric": "psnr"})
    assert [result.metric for result in pooled([[one, other], [one]])] == ["ssim"]


def test_several_trainings_are_pooled_by_their_envelope(trained, examine, tmp_path):
    findings = examine(trained(), training_seeds=2, tiers=(1,)).findings
    first, second = (
        next(r for r in examine_results(path) if (r["source"], r["metric"]) == ("least-squares", "mse"))
        for path in (tmp_path / "audit" / "attacks", tmp_path / "audit" / "seed-4" / "attacks")
    )
    both = next(r for r in findings.results if (r.source, r.metric) == ("least-squares", "mse"))
    assert both.value == pytest.approx((first["value"] + second["value"]) / 2)
    assert (both.ci_low, both.ci_high) == (
        min(first["ci_low"], second["ci_low"]),
        max(first["ci_high"], second["ci_high"]),
    )
    assert both.n == 8


def examine_results(folder):
    return json.loads((folder / "attack.json").read_text())["results"]
