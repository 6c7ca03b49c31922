"""SplitFed's runs are attacked as DTFL's are: its clients send smashed data and labels too."""

import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from attack_reports import of
from fast_attacks import LeastSquares
from malicious_servers import Doubled, Downgrade
from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.victims.epochs import later_epochs
from dtfl_private.attacking.victims.recorded_rounds import latest_recordings
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacking.victims.victims import play, victim_tasks
from dtfl_private.attacks.gradient_labels import GradientLabels
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.shared.update_target import UpdateTarget
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback

METHODS = ("splitfed-v1", "splitfed-v2")
SMALL = {"clients": 3, "rounds": 1, "max_train_images": 40, "seed": 3, "device": "cpu", "workers": 1}


def value(report, source, metric):
    return of(report, metric, source).value


@pytest.mark.parametrize("method", METHODS)
def test_images_are_reconstructed_and_membership_is_seen(method, trained, mount):
    report = mount(trained(method=method), [LeastSquares(), MembershipMatching()])
    assert {result.tier for result in report.results} == {2}
    assert value(report, "least-squares", "ssim") > value(report, "mean-image", "ssim") + 0.1
    assert value(report, "membership-matching", "auc") > 0.9  # with 8 of each, chance exceeds it once in 700 times


@pytest.mark.parametrize("method", METHODS)
def test_what_was_recorded_is_what_is_played_again(method, trained, opened, mount):
    values = {"method": method, "record_rounds": ["last"], "record_images": 8, "dropout": 0.3}
    run = opened(**values)
    recorded = {one.seen.download.client: one.seen for one in latest_recordings(run)}
    assert set(recorded) == set(run.plan.clients_P.tolist())
    for seen in play(run, victim_tasks(run, 2, 100, "batches"), run.weights, kind="batches").seen:
        for kind, field in (("batches", "smashed"), ("batches", "labels"), ("replies", "gradient")):
            pairs = zip(getattr(seen, kind), getattr(recorded[seen.download.client], kind), strict=False)
            both = [(getattr(one, field), getattr(other, field)) for one, other in pairs]
            assert both
            assert all(torch.equal(one, other) for one, other in both)
    assert mount(trained(**values), [LeastSquares()]).results


def test_recorded_gradients_that_do_not_go_with_their_batches_are_refused(trained, mount, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained(method="splitfed-v1", record_rounds=["last"]), folder)
    file = min((folder / "transcript" / "seen").iterdir())
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, "pt") as given:
        metadata = given.metadata()
    short = tensors["batch/0/reply"][1:].contiguous()
    for changed in ({**tensors, "batch/0/reply": short}, {k: v for k, v in tensors.items() if k != "batch/0/reply"}):
        safetensors.torch.save_file(changed, file, metadata)
        with pytest.raises(RunError, match=r"is not of this run \(gradients at the cut that"):
            mount(folder, [LeastSquares()])


@pytest.mark.parametrize("method", METHODS)
def test_later_epochs_are_those_of_the_round_itself(method, opened):
    run = opened(method=method, local_epochs=2)
    tasks = victim_tasks(run, 2, 4, "batches")
    victims = play(run, tasks, run.weights, kind="batches")
    later = later_epochs(run, victims.seen)
    whole = play(run, [(task, task.sends) for task, _ in tasks], run.weights, kind="rounds")
    for seen, one in zip(whole.seen, later, strict=True):
        second = seen.batches[len(seen.batches) // 2 :]
        assert len(second) == len(one.batches)
        assert all(torch.equal(a.smashed, b.smashed) for a, b in zip(second, one.batches, strict=True))


def test_who_dropped_out_of_turns_is_left_so(opened):
    run = opened(method="splitfed-v2", clients=4, dropout=0.6)
    assert run.plan.dropped_P.any()
    sent = dict(zip(run.plan.clients_P.tolist(), run.plan.sent_batches_P.tolist(), strict=True))
    for task, batches in victim_tasks(run, 2, 1000, "batches"):
        assert batches <= sent[task.client]
    whole = {task.client for task, _ in victim_tasks(run, 2, 1000, "rounds")}
    assert whole == set(run.plan.clients_P[~run.plan.dropped_P].tolist())


@pytest.mark.parametrize("method", METHODS)
def test_a_malicious_server_sends_other_weights_but_names_no_tier(method, trained, mount):
    report = mount(trained(method=method), [Doubled()])
    assert value(report, "doubled", "weight-jump") > 0.5
    # Without an auxiliary head no client can compare losses.
    assert "probe-loss-ratio" not in {result.metric for result in report.results}
    with pytest.raises(InputError, match=f"chooses-tier., which nobody has in a run of {method}: leave it out"):
        mount(trained(method=method), [Downgrade()])
    with pytest.raises(InputError, match=f"{method} cuts the network of this run at tier 2 for all clients"):
        mount(trained(method=method), [LeastSquares()], tiers=(1,))


def test_the_same_round_cut_elsewhere_is_for_checks(opened):
    run = opened(method="splitfed-v2")
    shallow = run.cut_at(1)
    assert (run.tiers, shallow.tiers) == ([2], [1])
    assert np.array_equal(run.plan.order, shallow.plan.order)
    victims = play(shallow, victim_tasks(shallow, 1, 8, "batches"), shallow.weights, kind="batches")
    assert victims.seen[0].batches[0].smashed.shape[1:] == shallow.cut_shapes[1] != run.cut_shapes[2]


@pytest.mark.parametrize("method", METHODS)
def test_the_true_images_explain_the_update_by_the_gradients_returned(method, more_patterns, tmp_path):
    objects = {"dataset": more_patterns, "model": plain_network()}
    config = TrainConfig(method=f"{method}:cut=1", optimizer="sgd", lr=0.05, batch_size=4, **SMALL)
    run = train(config, out=tmp_path / "run", **objects)
    opened = open_run(run, objects=RunObjects(**objects))
    plan = plan_attack(opened, AttackConfig(victims=1, seeds=1), [UpdateInversion()], tmp_path / "out")
    (job,) = plan.jobs
    played = plan.rounds.of(job, None)
    view = plan.view(job, 0, played, Callback())
    (seen, update), *_ = view.updates
    assert len(seen.batches) == 4
    target = UpdateTarget.of(view.program(seen, adaptive=True), seen, update, view.local_steps)
    sizes = [len(batch.labels) for batch in seen.batches]
    images = played.victims.truth[: sum(sizes)]
    made = target.retraced(view.program(seen, adaptive=True), images.split(sizes))
    change, residual = made.change, made.residual
    for name, tensor in target.change.items():
        torch.testing.assert_close(change[name].detach(), tensor, atol=1e-6, rtol=1e-4)
    assert residual.item() < 1e-8
    wrong = target.retraced(view.program(seen, adaptive=True), images.flip(0).split(sizes)).change
    assert not all(torch.allclose(wrong[name], tensor, rtol=0.1) for name, tensor in target.change.items())


def plain_network():
    with isolated(0, "plain network"):
        first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Sigmoid())
        return StagedModel([("md1", first), ("md2", nn.Sequential(nn.Flatten(), nn.Linear(256, 3)))])


def test_gradients_are_seen_where_they_are_returned_and_by_who_sees_them(trained, mount):
    with pytest.raises(InputError, match=r"\(replies\), which nobody has in a run of dtfl: leave it out"):
        mount(trained(), [GradientLabels()])
    with pytest.raises(InputError, match="needs the gradients that the server returns"):
        mount(trained(method="splitfed-v2"), [GradientLabels()], adversary="curious-client")
