"""One server network on the messages of several clients: as a plain server half, but that nobody can spoil it."""

import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from dtfl_private.deployed.server.shared_half import SharedHalf
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.models.cutting.staged import numbered, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.training.optimizers import OptimizerSettings
from dtfl_private.training.server import ServerHalf

NONE = DefenseChain()


def plain(optimizer: str = "adam") -> ServerHalf:
    torch.manual_seed(0)
    modules = numbered([nn.Linear(6, 6), nn.Sequential(nn.BatchNorm1d(6), nn.ReLU()), nn.Linear(6, 3)])
    return ServerHalf(
        modules=modules,
        tier=1,
        weights=snapshot(modules),
        optimizer=OptimizerSettings(name=optimizer),
        lr=0.01,
        numerics=Numerics(),
        defense=NONE,
    )


def message(number: int, client: int, tier: int = 1) -> SmashedBatch:
    generator = torch.Generator().manual_seed(number)
    smashed, labels = torch.randn(5, 6, generator=generator), torch.randint(3, (5,), generator=generator)
    return SmashedBatch(client=client, round=1, tier=tier, batch=number, smashed=smashed, labels=labels)


# Of three clients in two tiers, as they come.
MESSAGES = [message(0, 0), message(1, 2, tier=2), message(2, 1), message(3, 0), message(4, 2, tier=2)]


def shared(merge: int, optimizer: str = "adam") -> SharedHalf:
    return SharedHalf(plain(optimizer), merge, dict.fromkeys(range(3), NONE), threading.Semaphore(1))


def spoiling(number: int, value: float, tier: int = 1) -> SmashedBatch:
    good = message(number, 1, tier)
    return replace(good, smashed=torch.full_like(good.smashed, value) * torch.arange(5).unsqueeze(1))


@pytest.mark.parametrize("merge", [1, 2, 9])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_messages_are_trained_on_as_they_come_and_what_spoils_the_network_leaves_no_trace(merge, optimizer):
    one, other = shared(merge, optimizer), plain(optimizer)
    for place, sent in enumerate(MESSAGES):
        for value in (1e38, 3e19):  # the loss is no number; or a variance is none
            with pytest.raises(WireError, match="smashed: with this batch the server's network is not finite"):
                one.train_on(spoiling(place, value))
        if (
            optimizer == "adam" and merge == 1
        ):  # a gradient that is a number, whose square is none: no later step moves it
            with pytest.raises(WireError, match="smashed: with this batch the server's network is not finite"):
                one.train_on(spoiling(place, 1e25, tier=3))
        one.train_on(sent)
        other.take_in(sent)
        if (place + 1) % merge == 0:
            other.step()
    one.finish()
    other.step()
    ours, theirs = one.weights(), other.weights()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert [one.mean_loss(client) for client in range(3)] == [other.mean_loss(client) for client in range(3)]
