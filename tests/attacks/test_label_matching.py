"""Labels that stay on a client, from the gradient that it returns at its last modules' input."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.client_tail import ClientTail
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacking.view import View
from dtfl_private.attacks.label_matching import LabelMatching, nearest_labels
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.train import train
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.optimizers import OptimizerSettings


@pytest.fixture(scope="module")
def u_shaped(tmp_path_factory):
    """One round of two clients with digits of 8x8 pixels: ``u_shaped(method, *defenses, **settings)``."""

    def run(method="u-shaped", *defenses, **values):
        settings = {"dataset": "digits:size=8", "model": "resnet-8", "method": method, "defense": list(defenses)}
        settings |= {"max_train_images": 160, "clients": 2, "rounds": 1, "batch_size": 16, "lr": 0.01, **values}
        config = TrainConfig.model_validate({**settings, "device": "cpu", "workers": 1})
        return open_run(train(config, out=tmp_path_factory.mktemp("run") / "run"))

    return run


def judged(opened, attack, out, **values):
    config = AttackConfig.model_validate({"victims": 64, "seeds": 1, "aux_images": 50, **values})
    plan = plan_attack(opened, config, [attack], out)
    (verdict,) = judged_guesses(plan, Callback())
    (found,) = [result for result in verdict.results if result.metric == "accuracy"]
    return found


def random_tail(*, norm):
    with isolated(3, "tail"):
        first = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()] if norm else []
        tail = nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)).double()
        return tail, torch.randn(12, 4, 5, 5).double(), torch.randint(6, (12,))


def held(tail):
    return ClientTail(tail, DefenseChain(), OptimizerSettings(name="sgd", momentum=0.0, weight_decay=0.0), 0.1)


def test_behind_a_linear_layer_it_is_the_closed_form():
    """W^T (p - y) / B, spread over the positions of the average pool: by hand."""
    tail, inputs, labels = random_tail(norm=False)
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(tail(leaf), labels), leaf)
    given = tail(inputs).softmax(dim=1) - F.one_hot(labels, 6)
    by_hand = (given @ tail[-1].weight / len(inputs) / 25)[:, :, None, None].expand_as(inputs)
    torch.testing.assert_close(gradient, by_hand)
    assert torch.equal(nearest_labels(held(tail), inputs, by_hand, 6, 0), labels)


def test_where_records_meet_in_batch_norm_guesses_are_corrected():
    tail, inputs, labels = random_tail(norm=True)
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(copy.deepcopy(tail)(leaf), labels), leaf)
    assert torch.equal(nearest_labels(held(tail), inputs, gradient, 6, 5), labels)
    assert not torch.equal(nearest_labels(held(tail), inputs, gradient, 6, 0), labels)


def test_every_label_of_a_round_is_found_by_the_server(u_shaped, tmp_path):
    """Four batches, trained on with Adam at ten times the usual rate: weights move far from those that were sent."""
    run = u_shaped()
    found = judged(run, LabelMatching(), tmp_path / "follows")
    assert (found.adversary, found.baseline_name) == ("server-honest-but-curious", "majority")
    assert found.value == 1.0
    assert found.baseline < 0.3


def test_two_modules_with_batch_norm_and_momentum(u_shaped, tmp_path):
    run = u_shaped("u-shaped:cut=2,tail=2", optimizer="sgd", momentum=0.9, norm="batch")
    assert judged(run, LabelMatching(), tmp_path / "out").value > 0.95


def test_the_clients_steps_are_taken_along(u_shaped, tmp_path, monkeypatch):
    """After the round's last batch the attack's copy of the last modules is what the client sends: to rounding."""
    run = u_shaped()
    (task, *_) = run.tasks
    recording = run.recorder().record(task, run.weights, batches=100, whole=True)
    assert len(recording.seen.batches) == task.batches > 4
    plan = plan_attack(run, AttackConfig(victims=64, seeds=1, aux_images=50), [LabelMatching()], tmp_path / "out")
    view = plan.view(plan.jobs[0], 0, plan.rounds.of(plan.jobs[0], None), Callback()).showing([recording.seen])
    tails, make = [], View.tail
    monkeypatch.setattr(View, "tail", lambda *given, **how: tails.append(make(*given, **how)) or tails[-1])
    for follows, followed in ((True, True), (False, False)):
        labels = LabelMatching(follows=follows).infer(view)
        assert not followed or torch.equal(labels, recording.truth.labels)
        apart = max(
            float((t - recording.seen.update.weights[n]).abs().max()) for n, t in tails[-1].modules.state_dict().items()
        )
        assert (apart < 1e-5) == followed


def test_protected_labels_are_found_and_the_true_ones_inferred(u_shaped, tmp_path):
    run = u_shaped("u-shaped", "label-rr:epsilon=3")
    found = judged(run, LabelMatching(), tmp_path / "out")
    # 0.69 of the labels are trained on as they are: of 64, fewer than 32 or more than 56 once in 1,000 times.
    assert 32 / 64 <= found.value <= 56 / 64
