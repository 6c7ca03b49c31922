import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dtfl_private.models.cutting.staged import StagedModel, numbered, snapshot
from dtfl_private.models.heads import PooledClassifier
from dtfl_private.numerics import Numerics
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload
from dtfl_private.training.client import ClientData, ClientHalf
from dtfl_private.training.optimizers import OptimizerSettings

ADAM = OptimizerSettings(name="adam")
SGD = OptimizerSettings(name="sgd", momentum=0.9, weight_decay=0.01)
FP64 = Numerics(precision="fp64")


def half_and_head() -> tuple[StagedModel, PooledClassifier]:
    torch.manual_seed(0)
    modules = numbered([torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)])
    return modules.double(), PooledClassifier(4, 3).double()


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(5, 1, 6, 6, generator=generator, dtype=torch.float64),
            torch.randint(3, (5,), generator=generator),
        )
        for _ in range(count)
    ]


def make_client(optimizer=ADAM, numerics=FP64, defenses=(), lr=0.01) -> ClientHalf:
    """Return a client whose modules hold other weights than those that it downloads."""
    modules, head = half_and_head()
    download = ModelDownload(client=3, round=7, tier=2, weights=snapshot(modules), head=snapshot(head))
    with torch.no_grad():
        for parameter in [*modules.parameters(), *head.parameters()]:
            parameter.add_(1)
    return ClientHalf(
        download=download,
        modules=numerics.place(modules),
        head=numerics.place(head),
        optimizer=optimizer,
        lr=lr,
        batch_size=5,
        local_epochs=1,
        numerics=numerics,
        defense=DefenseChain(defenses),
        at=a_round(),
    )


def a_round() -> ClientRound:
    return ClientRound(seed=2, client=3, round=7, tier=2, records=10, classes=3)


def data(count: int, dtype=torch.float64) -> ClientData:
    """Return the batches as a client's records, five to a batch."""
    dealt = batches(count)

    def fetch(records):
        inputs, labels = dealt[int(records[0]) // 5]
        return inputs.to(dtype), labels

    return ClientData(batches=[torch.arange(5 * n, 5 * n + 5) for n in range(count)], fetch=fetch)


def plain_training(make_optimizer, count: int, *, forgetful: bool = False):
    """Train the same half by a plain loop; return it, its head and each batch's activations and loss."""
    modules, head = half_and_head()
    optimizer = make_optimizer([*modules.parameters(), *head.parameters()])
    seen = []
    for inputs, labels in batches(count):
        if forgetful:
            optimizer = make_optimizer([*modules.parameters(), *head.parameters()])
        smashed = modules(inputs)
        loss = F.cross_entropy(head(smashed), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append((smashed.detach(), loss.item()))
    return modules, head, seen


def close(state, module) -> bool:
    return all(torch.allclose(state[name], tensor, rtol=1e-12) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        (ADAM, lambda parameters: torch.optim.Adam(parameters, 0.01)),
        (SGD, lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=0.01)),
    ],
)
def test_a_client_trains_like_a_plain_loop_whose_optimizer_lives_for_the_round(settings, plain):
    client = make_client(settings)
    messages = list(client.train(data(4), 4))
    update = client.update()

    modules, head, seen = plain_training(plain, 4)
    assert close(update.weights, modules)
    assert close(update.head, head)
    assert client.mean_loss == pytest.approx(sum(loss for _, loss in seen) / 4, rel=1e-12)
    for message, (smashed, _) in zip(messages, seen, strict=True):
        torch.testing.assert_close(message.smashed, smashed, rtol=1e-12, atol=0)

    forgetful, _, _ = plain_training(plain, 4, forgetful=True)
    assert not close(update.weights, forgetful)


def test_the_messages_say_whose_they_are_and_carry_the_labels_of_their_batch():
    client = make_client()
    messages = list(client.train(data(3), 3))
    update = client.update()
    assert [(m.client, m.round, m.tier, m.batch) for m in messages] == [(3, 7, 2, 0), (3, 7, 2, 1), (3, 7, 2, 2)]
    assert all(torch.equal(m.labels, labels) for m, (_, labels) in zip(messages, batches(3), strict=True))
    assert not any(m.smashed.requires_grad for m in messages)
    assert (update.client, update.round, update.tier, update.examples) == (3, 7, 2, 10)


@pytest.mark.parametrize(("precision", "wire"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_smashed_data_leave_in_the_wire_type_and_weights_in_the_weights_type(precision, wire):
    client = make_client(numerics=Numerics(precision=precision))
    (message,) = client.train(data(1, torch.float32), 1)
    assert message.smashed.dtype == wire
    update = client.update()
    assert {t.dtype for t in [*update.weights.values(), *update.head.values()] if t.is_floating_point()} == {
        torch.float32
    }


class Marking(Defense):
    """Replaces every label by the number of messages seen so far and every weight by a draw from the stream."""

    def __init__(self) -> None:
        self.seen = 0

    def protect_batch(self, message, at):
        self.seen += 1
        return replace(message, labels=torch.full_like(message.labels, self.seen))

    def protect_update(self, message, at):
        return replace(
            message, head={name: torch.rand(t.shape, generator=at.chance) for name, t in message.head.items()}
        )


def test_everything_that_leaves_passes_the_defense_with_the_clients_stream():
    client = make_client(defenses=[Marking()])
    messages = list(client.train(data(2), 2))
    assert [message.labels.unique().tolist() for message in messages] == [[1], [2]]
    rng = a_round().member(0).chance
    for tensor in client.update().head.values():
        assert torch.equal(tensor, torch.rand(tensor.shape, generator=rng))


def test_a_defense_does_not_change_what_the_client_itself_learns():
    plain, defended = make_client(), make_client(defenses=[Marking()])
    list(plain.train(data(3), 3))
    list(defended.train(data(3), 3))
    assert plain.mean_loss == defended.mean_loss
    ours, theirs = plain.update().weights, defended.update().weights
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_messages_are_copies_that_later_training_does_not_touch():
    client = make_client()
    first, *_ = client.train(data(2), 2)
    update = client.update()
    before = copy.deepcopy((first.smashed, dict(update.weights)))
    list(client.train(data(2), 2))
    assert torch.equal(first.smashed, before[0])
    assert all(torch.equal(update.weights[name], tensor) for name, tensor in before[1].items())
    assert not torch.equal(client.update().weights["md1.weight"], update.weights["md1.weight"])


def test_a_client_without_batches_sends_back_what_it_downloaded():
    client = make_client()
    assert list(client.train(data(0), 0)) == []
    assert client.mean_loss == 0
    modules, head = half_and_head()
    update = client.update()
    assert all(torch.equal(update.weights[name], tensor) for name, tensor in modules.state_dict().items())
    assert all(torch.equal(update.head[name], tensor) for name, tensor in head.state_dict().items())
