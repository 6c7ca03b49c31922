"""Gradients J (p - y) of a linear server half: p tells the true label, y is the one sent."""

import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.attacks.shared.gradient_classifiers import Examples, best_classifier

CLASSES = 4
# Of each sent label (column) given the true one (row): a lie is the next class, and class 0 lies most.
CHANNEL = torch.eye(CLASSES, dtype=torch.float64) * torch.tensor([0.2, 0.5, 0.5, 0.6], dtype=torch.float64)[:, None]
CHANNEL = CHANNEL + torch.roll(torch.diag(1 - CHANNEL.diagonal()), 1, dims=1)
CHANNEL = (CHANNEL + 1e-6) / (1 + CLASSES * 1e-6)


def gradients(count, channel, seed):
    """Return gradients at the cut of records whose labels are sent through a channel."""
    chance = torch.Generator().manual_seed(seed)
    true = torch.randint(CLASSES, (count,), generator=chance)
    sent = torch.multinomial(channel[true], 1, generator=chance)[:, 0]
    half = nn.Linear(12, CLASSES)
    with torch.no_grad():
        half.weight.copy_(torch.randn(CLASSES, 12, generator=torch.Generator().manual_seed(9)))
        half.bias.zero_()
    smashed = half.weight.detach()[true] * 0.25 + torch.randn(count, 12, generator=chance) * 0.15
    smashed.requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(half(smashed), sent, reduction="sum"), smashed)
    return Examples(features=found, true=true, sent=sent)


def right(guess, truth):
    return float((guess == truth).double().mean())


def test_true_labels_are_told_behind_those_sent():
    train, held, victims = (gradients(count, CHANNEL, seed) for seed, count in enumerate((600, 100, 400)))
    guess = best_classifier(train, held, CHANNEL, seed=0)(victims.features)
    # Who knows what was sent, and the channel, is right in half of the cases or so.
    by_sent = CHANNEL.argmax(dim=0)[victims.sent]
    assert right(by_sent, victims.true) < 0.65
    assert right(guess, victims.true) > 0.95


def test_labels_sent_in_clear_are_told():
    clear = torch.eye(CLASSES, dtype=torch.float64).clamp(min=1e-6)
    train, held, victims = (gradients(count, clear, seed) for seed, count in enumerate((200, 50, 200)))
    guess = best_classifier(train, held, clear, seed=0)(victims.features)
    assert right(guess, victims.true) > 0.95


def test_the_best_on_examples_held_back_is_taken():
    """Where true and sent labels are independent and points are their sum, no line tells the true one."""
    chance = torch.Generator().manual_seed(0)
    corners = torch.tensor([[[1.0, 0], [-1, 0]], [[0, 1], [0, -1]]])

    def made(count):
        true, sent = (torch.randint(2, (count,), generator=chance) for _ in range(2))
        points = corners[true, sent] + 0.2 * torch.randn(count, 2, generator=chance)
        return Examples(features=points, true=true, sent=sent)

    even = torch.full((2, 2), 0.5, dtype=torch.float64)
    victims = made(400)
    guess = best_classifier(made(400), made(100), even, seed=0)(victims.features)
    assert right(guess, victims.true) > 0.95
