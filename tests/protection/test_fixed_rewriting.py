"""Which defenses are functions without chance, that an attacker follows to the end of the message."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.fixed_rewriting import OwnMessage, fixed_rewritings, rewritten
from dtfl_private.protocol.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class Rewriting(Defense):
    """Send something else in the place of the activations."""

    def protect_batch(self, message, at):
        return replace(message, smashed=self.rewritten(message, at))


class Turned(Rewriting):
    def rewritten(self, message, at):
        return -2 * message.smashed.flip(1)


class Noisy(Rewriting):
    def rewritten(self, message, at):
        return message.smashed + torch.randn(message.smashed.shape, generator=at.chance)


class KeptKey(Rewriting):
    """Signs of a key that each client draws once."""

    def rewritten(self, message, at):
        key = at.memory.setdefault("key", torch.randn(message.smashed.shape[1:], generator=at.lasting("key")))
        return message.smashed * key.sign()


class ByLabel(Rewriting):
    def rewritten(self, message, at):
        return message.smashed * (2 + message.labels.reshape(-1, 1, 1, 1))


class ByPlace(Rewriting):
    """By the number of the batch and the row within it."""

    def rewritten(self, message, at):
        rows = torch.arange(len(message.labels)).reshape(-1, 1, 1, 1)
        return message.smashed * (2 + 10 * message.batch + rows)


class Rounded(Rewriting):
    def rewritten(self, message, at):
        return message.smashed.round()


class ByNumPy(Rewriting):
    def rewritten(self, message, at):
        return torch.from_numpy(-message.smashed.numpy())


class FromScratch(Defense):
    """Make a message of its own."""

    def protect_batch(self, message, at):
        sent = {name: getattr(message, name) for name in ("client", "round", "tier", "batch", "labels")}
        return SmashedBatch(**sent, smashed=-message.smashed)


class Told(Turned):
    """Say itself what shows."""

    def read(self, reading):
        return reading


@pytest.fixture
def at() -> ClientRound:
    return ClientRound(seed=1, client=0, round=1, tier=1, records=9, classes=2)


@pytest.fixture
def smashed() -> Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def own(smashed) -> OwnMessage:
    return OwnMessage(client=0, round=1, tier=1, batch=3, smashed=smashed, labels=torch.tensor([4, 0, 7]))


def test_a_function_without_chance_is_followed_with_its_slope(at, smashed):
    chain = DefenseChain([Noisy(), Turned(), Turned()])
    assert fixed_rewritings(chain, own(smashed), at) == (1, 2)
    guess = smashed.clone().requires_grad_()
    sent = rewritten(chain, (1,), own(guess), at)
    assert torch.equal(sent, -2 * smashed.flip(1))
    (slope,) = torch.autograd.grad(sent.sum(), guess)
    assert (slope == -2).all()


def test_what_is_sent_beside_the_activations_is_no_chance(at, smashed):
    chain = DefenseChain([ByLabel(), ByPlace()])
    assert fixed_rewritings(chain, own(smashed), at) == (0, 1)
    factors = torch.tensor([6 * 32, 2 * 33, 9 * 34]).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(rewritten(chain, (0, 1), own(smashed), at), smashed * factors)


@pytest.mark.parametrize("defense", [Noisy(), KeptKey(), Rounded(), ByNumPy(), FromScratch(), Told()])
def test_chance_steps_and_what_is_told_already_are_not_followed(defense, at, smashed):
    assert fixed_rewritings(DefenseChain([defense]), own(smashed), at) == ()


def test_built_in_defenses_say_themselves_what_shows(at, smashed):
    unread = [
        name
        for name in sorted(installed("defense"))
        if fixed_rewritings(DefenseChain([create("defense", name)]), own(smashed), at)
    ]
    assert unread == []
