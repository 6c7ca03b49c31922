import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.models.cutting.staged import StagedModel, numbered, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.training.optimizers import OptimizerSettings
from dtfl_private.training.server import ServerHalf

FP64 = Numerics(precision="fp64")


def half() -> StagedModel:
    torch.manual_seed(0)
    return numbered([nn.Linear(6, 8), nn.Sequential(nn.BatchNorm1d(8), nn.ReLU()), nn.Linear(8, 3)]).double()


def messages(count: int, dtype: torch.dtype = torch.float64) -> list[SmashedBatch]:
    generator = torch.Generator().manual_seed(1)
    return [
        SmashedBatch(
            client=0,
            round=1,
            tier=1,
            batch=number,
            smashed=torch.randn(5, 6, generator=generator, dtype=torch.float64).to(dtype),
            labels=torch.randint(3, (5,), generator=generator),
        )
        for number in range(count)
    ]


def make_server(numerics=FP64, name="adam") -> ServerHalf:
    """Return a server half whose modules hold other weights than those that it is given."""
    modules = half()
    weights = snapshot(modules)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter.add_(1)
    return ServerHalf(
        modules=numerics.place(modules),
        tier=1,
        weights=weights,
        optimizer=OptimizerSettings(name=name),
        lr=0.01,
        numerics=numerics,
        defense=DefenseChain(),
    )


def plain_training(make_optimizer, count: int, *, forgetful: bool = False) -> tuple[StagedModel, list[float]]:
    modules = half()
    optimizer = make_optimizer(modules.parameters(), 0.01)
    losses = []
    for message in messages(count):
        if forgetful:
            optimizer = make_optimizer(modules.parameters(), 0.01)
        loss = F.cross_entropy(modules(message.smashed), message.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return modules, losses


def close(server: ServerHalf, modules: StagedModel) -> bool:
    weights = server.weights()
    return all(torch.allclose(weights[name], tensor, rtol=1e-12) for name, tensor in modules.state_dict().items())


@pytest.mark.parametrize(("name", "plain"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_a_server_half_trains_like_a_plain_loop(name, plain):
    server = make_server(name=name)
    for message in messages(4):
        server.train_on(message)
    modules, losses = plain_training(plain, 4)
    assert close(server, modules)
    assert server.mean_loss(0) == pytest.approx(sum(losses) / 4, rel=1e-12)


def test_its_optimizer_lives_for_the_round_and_not_for_a_batch():
    server = make_server()
    for message in messages(4):
        server.train_on(message)
    assert not close(server, plain_training(torch.optim.Adam, 4, forgetful=True)[0])


def test_no_gradient_goes_back_and_the_message_stays_as_it_was():
    server = make_server()
    (message,) = messages(1)
    before = message.smashed.clone(), message.labels.clone()
    server.train_on(message)
    assert message.smashed.grad is None
    assert not message.smashed.requires_grad
    assert torch.equal(message.smashed, before[0])
    assert torch.equal(message.labels, before[1])


@pytest.mark.parametrize(
    ("precision", "wire"),
    [("fp32", torch.float32), ("fp32", torch.float64), ("bf16", torch.bfloat16), ("fp64", torch.float32)],
)
def test_smashed_data_of_any_floating_type_are_taken_and_weights_keep_theirs(precision, wire):
    # A defense may well answer in another type than it was given.
    numerics = Numerics(precision=precision)
    server = make_server(numerics)
    for message in messages(2, wire):
        server.train_on(message)
    floating = {tensor.dtype for tensor in server.weights().values() if tensor.is_floating_point()}
    assert floating == {numerics.weight_dtype}
    assert server.mean_loss(0) == pytest.approx(sum(plain_training(torch.optim.Adam, 2)[1]) / 2, rel=0.05)


def test_weights_are_a_copy_that_later_training_does_not_touch():
    server = make_server()
    server.train_on(messages(1)[0])
    weights = server.weights()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    server.train_on(messages(2)[1])
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    assert not torch.equal(server.weights()["md1.weight"], before["md1.weight"])


def test_before_the_first_message_nothing_is_trained_and_the_loss_is_zero():
    server = make_server()
    assert close(server, half())
    assert server.mean_loss(0) == 0
