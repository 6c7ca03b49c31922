"""The guard on returned gradients: what it measures, when it speaks, and what a client then does."""

from dataclasses import replace

import pytest
import torch

from dtfl_private.defenses.gradient_scrutinizer import GradientScrutinizer, cosine_across_labels
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import GradientReply, ModelDownload, Transcript, WeightUpdate
from dtfl_private.training.methods.splitfed import SplitFedWork
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker

LABELS = torch.tensor([0, 0, 1, 1])


def a_reply(rows):
    return GradientReply(client=0, round=1, batch=0, gradient=torch.tensor(rows))


def a_round(**changes):
    return ClientRound(seed=0, client=0, round=changes.pop("round", 1), tier=1, records=8, classes=2, **changes)


APART = a_reply([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
ALIKE = a_reply([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]])


def test_the_cosine_is_that_between_different_labels_alone():
    assert cosine_across_labels(APART.gradient, LABELS) == pytest.approx(-1)
    assert cosine_across_labels(ALIKE.gradient, LABELS) == pytest.approx(1)
    square = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert cosine_across_labels(square, LABELS) == pytest.approx(0.5**0.5 / 2)
    assert cosine_across_labels(ALIKE.gradient, torch.zeros(4, dtype=torch.int64)) is None
    assert cosine_across_labels(torch.full((4, 2), torch.nan), LABELS) == 1.0


def test_it_speaks_after_enough_batches_and_again_in_later_rounds():
    guard, at = GradientScrutinizer(batches=3, action="refuse"), a_round()
    assert [len(guard.inspect_reply(reply, LABELS, at)) for reply in (APART, ALIKE, ALIKE, ALIKE, ALIKE)] == [
        0,
        0,
        1,  # mean cosine 1/3
        0,
        0,
    ]
    later = a_round(round=2, memory=at.remembered())
    download = ModelDownload(client=0, round=2, tier=1, weights={}, head={})
    (remark,) = guard.inspect(download, later)
    assert remark.refuses
    assert "since round 1" in remark.text
    assert guard.inspect(download, a_round()) == ()


@pytest.mark.parametrize("action", ["log", "refuse"])
def test_a_client_that_refuses_neither_uses_the_gradient_nor_goes_on(prepare_tiny, action):
    guard = GradientScrutinizer(batches=1, action=action)
    prepared = prepare_tiny(method="splitfed-v1", defenses=[guard])
    answer = SplitFedWork(answer=lambda message: torch.ones_like(message.smashed))
    setup = replace(prepared.worker, work=answer)
    transcript = Transcript()
    task = ClientTask(client=1, round=1, tier=2, lr=0.01, batches=3, completes=True)
    weights = prepared.initial.weights
    (result,) = setup.work.train(Worker(setup, [transcript.record]), [task], weights)
    replies = [message for message in transcript.messages if isinstance(message, GradientReply)]
    updates = [message for message in transcript.messages if isinstance(message, WeightUpdate)]
    assert len(result.remarks) == 1
    assert (len(replies), len(updates)) == ((1, 0) if action == "refuse" else (3, 1))
    assert bool(result.model) == (action == "log")
