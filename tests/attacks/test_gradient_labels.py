"""What the gradients that a server returns say of labels."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacks import gradient_labels
from dtfl_private.attacks.gradient_labels import GradientLabels, direction_scores, features, norm_scores
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.train import train
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback


def auc(scores, positive):
    above = scores[positive][:, None] > scores[~positive]
    return float(above.double().mean())


def test_two_classes_are_told_by_norm_and_direction_as_published():
    """Li et al. 2022, section 3: early in training, one class being rare, AUCs of about 1."""
    with isolated(1, "two classes"):
        labels = (torch.rand(400) < 0.15).long()
        smashed = torch.randn(400, 8) + labels[:, None] * 0.7
        half = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 2))
        optimizer = torch.optim.Adam(half.parameters(), lr=1e-3)
        for _ in range(30):  # both classes are still taken for the common one
            optimizer.zero_grad()
            F.cross_entropy(half(smashed), labels).backward()
            optimizer.step()
    smashed.requires_grad_()
    (gradients,) = torch.autograd.grad(F.cross_entropy(half(smashed), labels), smashed)
    rare = labels == 1
    assert auc(norm_scores(gradients), rare) > 0.95
    assert auc(direction_scores(gradients, gradients[rare][0]), rare) > 0.99
    assert abs(auc(direction_scores(torch.randn(400, 8), torch.randn(8)), rare) - 0.5) < 0.15


def test_features_do_not_depend_on_the_size_of_the_batch():
    gradient = torch.randn(6, 2, 3)
    torch.testing.assert_close(features(gradient * 8 / 6, 8), features(gradient, 6))


@pytest.fixture(scope="module")
def splitfed(tmp_path_factory):
    """Two rounds of two clients with digits of 8x8 pixels: ``splitfed(method, *defenses)``."""

    def run(method, *defenses):
        settings = {"dataset": "digits:size=8", "model": "resnet-8", "method": method, "defense": list(defenses)}
        settings |= {"max_train_images": 160, "clients": 2, "rounds": 2, "batch_size": 16}
        config = TrainConfig.model_validate({**settings, "device": "cpu", "workers": 1})
        return open_run(train(config, out=tmp_path_factory.mktemp("run") / "run"))

    return run


@pytest.fixture
def few_gradients(monkeypatch):
    monkeypatch.setattr(gradient_labels, "LEARNT_FROM", 500)


def judged(opened, attack, out, **values):
    config = AttackConfig.model_validate({"victims": 32, "seeds": 1, "aux_images": 200, **values})
    plan = plan_attack(opened, config, [attack], out)
    (verdict,) = judged_guesses(plan, Callback())
    (found,) = [result for result in verdict.results if result.metric == "accuracy"]
    return found


@pytest.mark.usefixtures("few_gradients")
def test_ten_classes_are_told_by_a_client_that_sees_the_downlink(splitfed, tmp_path):
    # By chance a tenth of 32 labels are right, and more than 12 once in 10,000 times.
    run = splitfed("splitfed-v1")
    found = judged(run, GradientLabels(), tmp_path / "all")
    assert (found.adversary, found.baseline_name) == ("downlink-observer", "majority")
    assert found.value > 0.6
    assert judged(run, GradientLabels(labels_per_class=2), tmp_path / "few").value > 12 / 32


@pytest.mark.usefixtures("few_gradients")
def test_true_labels_are_told_behind_protected_ones(splitfed, tmp_path):
    run = splitfed("splitfed-v1", "label-rr:epsilon=1")
    found = judged(run, GradientLabels(), tmp_path / "adaptive", victims=64)
    # The labels sent are right with 0.23 of the records, and above 28 of 64 once in 12,000 times.
    assert found.value > 28 / 64
    # Who is unaware of the defense finds these.
    assert judged(run, GradientLabels(adaptive=False), tmp_path / "unaware", victims=64).value <= 28 / 64


def test_own_gradients_are_those_that_the_server_returns(opened, tmp_path):
    """Of the very first batch of a client, which the server half has not moved on from."""
    run = opened(method="splitfed-v1")
    plan = plan_attack(run, AttackConfig(victims=4, seeds=1), [GradientLabels()], tmp_path / "out")
    played = plan.rounds.of(plan.jobs[0], None)
    view = plan.view(plan.jobs[0], 0, played, Callback())
    reply = view.replies[0][0].gradient
    own = view.replies_to(played.victims.truth[: len(reply)], played.victims.labels[: len(reply)])
    # But for dropout in the server's half, whose draws nobody knows.
    assert F.cosine_similarity(own.flatten(), reply.flatten(), dim=0) > 0.8


@dataclass(frozen=True, kw_only=True)
class HideZero(Defense):
    """Sends seven of ten zeros as ones, and other labels as they are."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="labels", acts_on=("labels",), guarantee="none", attacker="")

    def protect_labels(self, labels, records, at):
        lies = torch.rand(at.records, generator=at.lasting("lies"))[records.cpu()] < 0.7
        return torch.where(lies & (labels == 0), 1, labels)


def test_own_labels_and_their_channel_are_drawn_by_the_defense_of_the_run(opened, tmp_path, monkeypatch):
    given, asked = [], []

    def best(*examples_and_channel, seed):
        given.extend((*examples_and_channel, seed))
        return lambda points: torch.zeros(len(points), dtype=torch.int64)

    monkeypatch.setattr(gradient_labels, "LEARNT_FROM", 1000)
    monkeypatch.setattr(gradient_labels, "best_classifier", best)
    attack = GradientLabels(labels_per_class=2)
    run = opened(method="splitfed-v1", defenses=[HideZero()])
    plan = plan_attack(run, AttackConfig(victims=4, seeds=1), [attack], tmp_path / "out")
    view = plan.view(plan.jobs[0], 0, plan.rounds.of(plan.jobs[0], None), Callback())
    answer = view.replies_to
    monkeypatch.setattr(view, "replies_to", lambda *sent: (asked.append(sent[0]), answer(*sent))[1])
    attack.infer(view)
    train, held, channel, _ = given
    # Two of each class to learn from, and two to choose by.
    assert len(torch.unique(torch.cat(asked).flatten(1), dim=0)) <= 4 * view.classes
    for examples, margin in ((train, 0.1), (held, 0.2)):  # deviations of 0.025 and 0.05
        zero = examples.true == 0
        assert set(examples.sent[zero].tolist()) == {0, 1}
        assert float(examples.sent[zero].double().mean()) == pytest.approx(0.7, abs=margin)
        assert torch.equal(examples.sent[~zero], examples.true[~zero])
    assert channel[0].tolist() == pytest.approx([0.3, 0.7, 0.0], abs=0.1)
    assert channel[1:].diagonal(1).min() > 0.99
