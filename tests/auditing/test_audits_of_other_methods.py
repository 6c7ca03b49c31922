"""Audits of runs whose clients get gradients back, or are never sent their weights, from training to findings."""

import pytest
from fast_attacks import LeastSquares, Unlabelled

from dtfl_private.attacks.label_matching import LabelMatching
from dtfl_private.attacks.surrogate import Surrogate
from dtfl_private.auditing.audit_config import SETTLED, AuditConfig
from dtfl_private.auditing.audit_plan import plan_audit
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.verdicts.findings_file import read_findings

SHORT = Surrogate(shadows=1, size="small", decoder_steps=5, refining_steps=2)


@pytest.mark.parametrize("method", ["splitfed-v1", "splitfed-v2"])
def test_a_run_of_splitfed_is_audited_at_its_one_tier(method, trained, examine):
    done = examine(trained(method=method), [LeastSquares()])
    found = read_findings(done.path)
    # Its cut is after module 2: for the check at md1 the same round is cut there.
    assert [check.name for check in found.sanity] == ["identity", "md1"]
    assert found.valid
    assert [verdict.tier for verdict in found.verdict] == [2]
    assert {result.source for result in found.as_scheduled} == {"least-squares"}
    (threat,) = found.threat_model
    assert "the gradients that the server returns" in threat.capabilities
    assert "All clients are in one tier." in done.report.read_text("utf-8")


def test_an_audit_of_a_u_shaped_run_says_that_labels_are_told(trained, examine):
    done = examine(trained(method="u-shaped"), [Unlabelled(), LabelMatching(), LeastSquares()])
    found = read_findings(done.path)
    assert [check.name for check in found.sanity] == ["identity", "md1"]
    assert found.valid
    labels = [one for one in found.results if (one.source, one.metric) == ("label-matching", "accuracy")]
    assert [one.value for one in labels] == [1.0]
    (said,) = [one.sentence for one in found.guarantees if one.what == "labels"]
    assert said.startswith("labels are not sent, but the gradients at the input of the clients' last modules are")
    (threat,) = found.threat_model
    assert "the gradients before the clients' last modules" in threat.capabilities
    assert "the labels sent with them" not in threat.capabilities
    not_tested = {one.what: one.why for one in found.not_tested}
    assert "which nobody has in a run of u-shaped" in not_tested["least-squares"]
    assert "with the labels where the method sends them" in done.report.read_text("utf-8")


def test_what_cannot_be_checked_without_weights_is_said_so(trained, examine):
    done = examine(trained(method="fedgkt"), [SHORT, LeastSquares()], seeds=1)
    found = read_findings(done.path)
    assert [check.name for check in found.sanity] == ["identity"]
    not_tested = {one.what: one.why for one in found.not_tested}
    assert "are never sent their weights" in not_tested["the sanity check at md1"]
    assert "which nobody has in a run of fedgkt" in not_tested["least-squares"]
    (threat,) = found.threat_model
    assert "the clients' logits" in threat.capabilities
    assert not {"the weights that a client starts from", "the final global model"} & set(threat.capabilities)
    # Each record is sent once a round.
    assert {client.releases for client in found.clients} == {2}


@pytest.mark.parametrize(
    ("preset", "method", "more"),
    [
        ("quick", "dtfl", []),
        ("quick", "splitfed-v1", ["gradient-labels"]),
        ("thorough", "splitfed-v1", ["gradient-labels", "hijacking:size=best"]),
        ("quick", "u-shaped", ["gradient-labels", "label-matching"]),
        ("quick", "fedgkt", ["surrogate:size=small", "membership-surrogate"]),
    ],
)
def test_a_preset_has_the_attacks_that_fit_the_method(preset, method, more, trained, opened, tmp_path):
    assert RunFolder(path=trained(method=method)).path.is_dir()
    config = AuditConfig(
        preset=preset, victims=8, aux_images=60, training_seeds=1, aux_curve="off", workers=1, device="cpu"
    ).settled()
    plan = plan_audit(opened(method=method), config, None, tmp_path / "audit")
    assert list(plan.attack_config.attacks) == [*SETTLED[preset].attacks, *more]
    one = "decoder" if method == "u-shaped" else "surrogate"
    named = plan_audit(opened(method=method), config.model_copy(update={"attacks": (one,)}), None, tmp_path / "named")
    assert named.attack_config.attacks == (one,)
