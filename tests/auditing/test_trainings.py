import json

import pytest

from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.trainings import check_trainings
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create


def test_a_defended_run_is_compared_with_the_undefended_one_which_is_trained_once(trained, examine, tmp_path):
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    folder = trained(defenses=noise)
    few = {"defenses": noise, "tiers": (1, 3), "seeds": 1}
    done = examine(folder, **few)
    undefended = tmp_path / "audit" / "undefended"
    rounds = (undefended / "rounds.jsonl").stat().st_mtime_ns
    found = {(r.tier, r.metric): r for r in done.findings.results if r.source == "least-squares"}
    assert found[1, "mse"].undefended < found[1, "mse"].value
    assert done.findings.training.undefended_accuracy == pytest.approx(
        json.loads((undefended / "summary.json").read_text())["final_accuracy"]
    )
    measured = [result for result in done.findings.results if result.source == "constant"]
    assert [result.tier for result in measured] == [1, 3]
    assert all(result.undefended is not None for result in measured)
    examine(folder, **few)
    assert (undefended / "rounds.jsonl").stat().st_mtime_ns == rounds


def test_one_named_training_without_defenses_is_not_several(opened, tmp_path):
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    named = AuditConfig(undefended=str(tmp_path), training_seeds=2)
    with pytest.raises(InputError, match=r"is one training, and 2 are asked for: use --undefended train"):
        check_trainings(opened(defenses=noise), named)
    check_trainings(opened(), named)  # it has no defenses: nothing is compared


def test_a_run_that_is_not_the_same_without_defenses_is_refused_at_once(opened, trained):
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    with pytest.raises(InputError, match="is not this run without defenses"):
        check_trainings(opened(defenses=noise), AuditConfig(undefended=str(trained(seed=9))))
