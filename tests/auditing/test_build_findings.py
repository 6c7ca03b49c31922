import pytest

from dtfl_private.auditing.build_findings import AuditResults, describe_training, hidden_in
from dtfl_private.auditing.measuring import Measured
from dtfl_private.plugins.registry import create
from dtfl_private.verdicts.findings import NotTested, SanityCheck


def test_a_run_is_described_by_what_it_really_was(opened):
    run = opened()
    described = describe_training(run, 0.75)
    assert described.rounds == 2
    assert described.test_accuracy == run.records[-1]["test_accuracy"]
    assert (described.undefended_accuracy, described.tiers, described.defense) == (0.75, (1, 2, 3), ())
    assert (described.norm, described.dataset) == ("batch", "object:ImageDataset")


def test_one_failed_check_makes_an_audit_invalid():
    passed = SanityCheck(name="md1", attack="decoder", metric="ssim", value=0.95, needed=0.9, passed=True)
    failed = passed.model_copy(update={"name": "identity", "passed": False})

    def results(*sanity):
        measured = Measured(results=(), not_given=())
        return AuditResults(
            trainings=(),
            sanity=sanity,
            attacked=(),
            measured=measured,
            measured_undefended=(),
            scheduled=(),
            convergence=NotTested(what="convergence", why="made up"),
            auxiliary_curve=NotTested(what="leakage against the adversary's data", why="made up"),
            by_client=NotTested(what="differences between clients", why="made up"),
        )

    assert results(passed, passed).valid
    assert not results(passed, failed).valid


@pytest.mark.parametrize(
    ("method", "hidden", "shown"),
    [
        ("fedavg", {"smashed", "labels"}, {"updates", "client-weights"}),
        ("dtfl", set(), {"updates", "client-weights", "smashed", "labels"}),
        ("splitfed-v2", set(), {"replies", "smashed", "labels", "updates"}),
        ("fedgkt", {"updates", "client-weights"}, {"smashed", "labels", "logits"}),
    ],
)
def test_a_report_names_no_adversary_with_what_clients_do_not_send(method, hidden, shown):
    found = hidden_in(create("method", method))
    assert hidden <= found
    assert not shown & found
