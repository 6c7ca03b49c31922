"""Secure aggregation as a declared assumption: what it takes from the server, what is left, what is said of it."""

import pytest
import torch

from dtfl_private.attacking.assumed import declared, summed, together
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.victims.victims import play, victim_tasks
from dtfl_private.attacks.label_counts import LabelCounts
from dtfl_private.attacks.lira import Lira
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.errors import InputError
from dtfl_private.runtime.callback import Callback

ASSUMED = AttackConfig(victims=8, seeds=1, assume="secure-aggregation")


def test_the_sum_of_a_round_of_fedavg_is_the_new_model(opened):
    """Of those who completed it alone, with all of their records: the rest is rounding."""
    run = opened(method="fedavg", clients=4, dropout=0.4, partition="dirichlet:1")
    completing = [task.client for task in run.tasks if task.completes]
    assert 1 < len(completing) < len(run.tasks)
    whole = summed(run)
    (one,) = whole.recordings
    records = torch.cat([torch.from_numpy(run.prepared.worker.parts[client]) for client in completing])
    assert whole.summed == len(completing)
    assert one.seen.update.examples == len(records) == len(one.truth.labels)
    assert sorted(one.truth.records.tolist()) == sorted(records.tolist())
    for name, tensor in run.after.weights.model.items():
        torch.testing.assert_close(one.seen.update.weights[name], tensor, rtol=1e-5, atol=1e-6)


def test_nobody_sees_the_update_of_a_single_client(opened, tmp_path):
    """Attacks on whole networks' updates are mounted on the sum, by the server that sees averages only."""
    plan = plan_attack(opened(method="fedavg"), ASSUMED, [LabelCounts()], tmp_path / "out")
    (job,) = plan.jobs
    assert job.chosen.aggregate
    assert job.chosen.adversary.name == "server-with-secure-aggregation"
    played = plan.rounds.of(job, None)
    view = plan.view(job, 0, played, Callback())
    ((_, update),) = view.updates
    assert update.examples == sum(len(part) for part in plan.opened.prepared.worker.parts)
    clients = len(plan.opened.prepared.worker.parts)
    assert view.local_steps.batch_size == clients * plan.opened.prepared.worker.batch_size
    # As it is without the assumption: each client by itself.
    alone = plan_attack(opened(method="fedavg"), AttackConfig(victims=8, seeds=1), [LabelCounts()], tmp_path / "alone")
    assert not alone.jobs[0].chosen.aggregate
    assert alone.jobs[0].chosen.adversary.name == "server-honest-but-curious"


def test_a_run_says_by_itself_what_is_assumed(opened, trained, mount):
    values = {"method": "fedavg", "assume": ["secure-aggregation"]}
    assert declared(opened(**values), AttackConfig()) == ("secure-aggregation",)
    report = mount(trained(**values), [LabelCounts(effort=0.1)])
    (found,) = [result for result in report.results if result.metric == "accuracy" and result.source == "label-counts"]
    assert (found.adversary, found.settings["summed_clients"]) == ("server-with-secure-aggregation", 3)
    assert any("assumed, not shown" in remark for remark in report.remarks)


def test_of_cut_networks_attacks_on_updates_are_ruled_out_and_others_are_not(opened, trained, mount, tmp_path):
    with pytest.raises(InputError, match=r"the assumption rules it out: of secure aggregation .assumed, not shown."):
        mount(trained(method="dtfl"), [UpdateInversion()], assume="secure-aggregation")
    plan = plan_attack(opened(method="dtfl"), ASSUMED, [MembershipMatching()], tmp_path / "out")
    adversary = plan.jobs[0].chosen.adversary
    assert adversary.name == "server-honest-but-curious"
    assert {"smashed", "labels", "aggregate"} <= adversary.has
    assert "updates" not in adversary.has
    left = ASSUMED.model_copy(update={"where_applicable": True})
    plan = plan_attack(opened(method="dtfl"), left, [UpdateInversion(), MembershipMatching()], tmp_path / "left")
    assert [one.attack for one in plan.left_out] == ["update-inversion"]
    assert "the assumption rules it out" in plan.left_out[0].why


def test_weights_that_only_an_update_shows_are_not_known(opened, tmp_path):
    """A client that trains first sends under the weights of its update; of these the server has the sum alone."""
    run = opened(method="dtfl")
    for config, known in ((ASSUMED, False), (AttackConfig(victims=8, seeds=1), True)):
        setup = plan_attack(run, config, [MembershipMatching()], tmp_path / str(known)).setup
        played = play(run, victim_tasks(run, 2, 8, "rounds"), run.weights, kind="rounds")
        evidence = setup.evidence(2, played)
        assert all((seen.update is not None) == known for seen in evidence.round.seen)


def test_of_one_participant_the_sum_is_its_update(opened, trained, mount):
    with pytest.raises(InputError, match="hides nothing where one client takes part in a round, whose update"):
        opened(method="fedavg", clients=1, assume=["secure-aggregation"])
    one_step = {"optimizer": "sgd", "batch_size": 256, "rounds": 1}
    folder = trained(method="fedavg", clients=1, **one_step)
    report = mount(folder, [LabelCounts(effort=0.1)], assume="secure-aggregation")
    (found,) = [result for result in report.results if result.metric == "accuracy" and result.source == "label-counts"]
    assert (found.adversary, found.settings.get("summed_clients")) == ("server-honest-but-curious", None)
    assert any("the sum is its update, which is attacked as it is" in remark for remark in report.remarks)


@pytest.mark.parametrize("method", ["fedgkt", "centralised"])
def test_where_no_updates_are_sent_there_is_nothing_to_assume(opened, method):
    with pytest.raises(InputError, match="is about weight updates, and in method"):
        opened(method=method, assume=["secure-aggregation"])


def test_membership_by_the_final_model_is_as_it_was(opened, tmp_path):
    plan = plan_attack(opened(method="fedavg"), ASSUMED, [Lira()], tmp_path / "out")
    assert plan.jobs[0].chosen.adversary.name == "model-recipient"
    assert not plan.jobs[0].chosen.aggregate


def test_nobody_together_is_nobody():
    assert together([]).recordings == []
