"""Clients of known labels take steps of SGD; their labels are counted from what that did to the last layer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacks.shared.label_counts import LinearLayer, label_counts, mean_slopes, whole_counts
from dtfl_private.protection.defense_chain import weighted_cross_entropy
from dtfl_private.randomness import isolated, torch_stream

STEP = LocalSteps(optimizer="sgd", lr=0.05, momentum=0.5, weight_decay=0.01)


def network(ending: nn.Module, features: int) -> nn.Sequential:
    with isolated(0, "network"):
        convolutions = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, padding=1), nn.ReLU())
        return nn.Sequential(*convolutions, ending, nn.Flatten(), nn.Linear(features, 10))


ENDINGS: dict[str, Callable[[], nn.Sequential]] = {
    "all-pixels": lambda: network(nn.Identity(), 32 * 16),
    "pooled": lambda: network(nn.AdaptiveAvgPool2d(1), 32),
}


def counted(model: nn.Sequential, batches: list[tuple[Tensor, Tensor]], class_weights: Tensor | None = None) -> Tensor:
    """Return the counts that are estimated of a client that takes a step on each batch."""
    layer = model[-1]
    begin = LinearLayer(weight=layer.weight.detach().clone(), bias=layer.bias.detach().clone())
    optimizer = torch.optim.SGD(model.parameters(), lr=STEP.lr, momentum=STEP.momentum, weight_decay=STEP.weight_decay)
    for images, labels in batches:
        optimizer.zero_grad()
        weighted_cross_entropy(model(2 * images - 1), labels, class_weights).backward()
        optimizer.step()
    change = LinearLayer(weight=layer.weight.detach() - begin.weight, bias=layer.bias.detach() - begin.bias)
    slopes = mean_slopes(begin, change, STEP, len(batches))
    return label_counts(begin, slopes, sum(len(labels) for _, labels in batches), class_weights)


@pytest.mark.parametrize(("ending", "weighs"), [("all-pixels", False), ("pooled", True)])
def test_one_step_shows_its_labels(ending, weighs, small_digits):
    """At least 90 of 100 batches of 8 to 32 exactly; a method right 97 times in 100 fails once in 1,000 draws."""
    images, labels = small_digits
    weights = torch.linspace(0.3, 3, 10, dtype=torch.float64) if weighs else None
    chance, exact = torch_stream(0, "batches"), 0
    for size in [8, 16, 24, 32] * 25:
        own = torch.randperm(len(labels), generator=chance)[:size]
        found = whole_counts(counted(ENDINGS[ending](), [(images[own], labels[own])], weights))
        exact += torch.equal(found, torch.bincount(labels[own], minlength=10))
    assert exact >= 90


def test_several_steps_show_the_shares(small_digits):
    images, labels = (part[:64] for part in small_digits)
    found = counted(ENDINGS["pooled"](), list(zip(images.split(8), labels.split(8), strict=True)))
    torch.testing.assert_close(found, torch.bincount(labels, minlength=10).double(), atol=1.0, rtol=0)
    assert found.sum() == pytest.approx(64)


def test_classes_that_are_not_there_are_not_found(small_digits):
    images, labels = small_digits
    own = torch.isin(labels, torch.tensor([2, 7])).nonzero()[:16, 0]
    found = whole_counts(counted(ENDINGS["pooled"](), [(images[own], labels[own])]))
    assert found.nonzero()[:, 0].tolist() == [2, 7]


def test_the_mean_slope_of_one_step_is_the_gradient():
    begin = LinearLayer(weight=torch.randn(3, 2), bias=torch.randn(3))
    gradient = LinearLayer(weight=torch.randn(3, 2), bias=torch.randn(3))
    change = LinearLayer(
        weight=-STEP.lr * (gradient.weight + STEP.weight_decay * begin.weight),
        bias=-STEP.lr * (gradient.bias + STEP.weight_decay * begin.bias),
    )
    found = mean_slopes(begin, change, STEP, 1)
    torch.testing.assert_close(found.weight, gradient.weight)
    torch.testing.assert_close(found.bias, gradient.bias)


def test_slopes_that_say_nothing_leave_all_classes_alike():
    flat = LinearLayer(weight=torch.zeros(4, 2), bias=torch.zeros(4))
    assert label_counts(flat, flat, 8).tolist() == [2, 2, 2, 2]


def test_whole_counts_keep_the_sum():
    assert whole_counts(torch.tensor([1.5, 0.3, 2.2], dtype=torch.float64)).tolist() == [2, 0, 2]
