"""Attributes and protected labels: what smashed data say beyond what priors and protected labels already do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dtfl_private.attacking.base import Target
from dtfl_private.attacks import label_inference
from dtfl_private.attacks.attribute import MEASURES, AttributeInference, log_odds_of
from dtfl_private.attacks.label_clustering import LabelClustering, mix_of_labels
from dtfl_private.attacks.label_inference import LabelInference, first_of_each_class
from dtfl_private.attacks.shared import inverse_network, kernel_classifier
from dtfl_private.attacks.shared.auxiliary_release import label_channel
from dtfl_private.attacks.shared.kernel_classifier import KernelClassifier
from dtfl_private.defenses.label_rr import LabelRr, keep_probability
from dtfl_private.errors import InputError
from dtfl_private.leakage.ceiling import raw_pixel_guess
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.randomness import isolated

CLIENTS = 8
FEW = {"decoder_steps": 20, "search_steps": 30}


def stem():
    with isolated(0, "stem"):
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())


class Independent(nn.Module):
    """Sends noise: nothing of the inputs but their number."""

    def forward(self, inputs):
        return torch.randn(len(inputs), 4, 8, 8)


class NotFinite(nn.Module):
    """Sends a value that is not finite with each record."""

    def forward(self, inputs):
        return torch.cat([inputs, torch.full_like(inputs[:, :1], torch.inf)], dim=1)


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    """Narrow networks that decode, and a choice of two kernel classifiers."""
    monkeypatch.setattr(inverse_network, "_WIDTHS", {"medium": 256})
    for name, value in (("WIDTHS", 0.3), ("STRENGTHS", 100.0)):
        monkeypatch.setattr(kernel_classifier, name, (value,))


@pytest.fixture
def victims(make_view, small_digits):
    """Make a view of clients' batches with labels as their defenses send them, and the victims' truth."""

    def make(half, *defenses, clients=CLIENTS):
        view, images = make_view(half, *defenses, stems=(half,) * (clients - 1), images=small_digits, auxiliary=400)
        evidence, labels = view._evidence, small_digits[1][: len(images)]
        seen = []
        for one in evidence.round.seen:
            (batch,) = one.batches
            sent = evidence.network.program(one, True, 10**6 + one.download.client).sent_labels(batch.labels)
            seen.append(replace(one, batches=(replace(batch, labels=sent),)))
        view._evidence = replace(evidence, round=replace(evidence.round, seen=seen))
        return view, images, labels

    return make


def right(guess, truth):
    return float((guess == truth).double().mean())


def test_properties_of_images_that_can_be_reconstructed_are_measured_on_them(victims):
    """By chance half of 32 are right, more than 0.93 of them in fewer than one of 10^6 cases."""
    view, images, labels = victims(stem(), clients=2)
    for attribute in ("brightness", "asymmetry"):
        attack = AttributeInference(attribute=attribute, **FEW)
        assert right(attack.infer(view), attack.values(images, labels, view.auxiliary)) > 0.93


def test_a_measure_weighs_by_its_errors():
    margins, errors = torch.tensor([-1.0, 0.4, 2.0]), torch.linspace(-1, 2, 301)
    odds = log_odds_of(margins, errors)
    # The median error is 0.5, half of all are within 0.75 of it: a deviation of 1.11.
    chances = torch.special.ndtr((margins.double() - 0.5) / (0.75 / 0.6745))
    torch.testing.assert_close(odds, torch.logit(chances), atol=0.02, rtol=0)
    assert log_odds_of(margins, 100 * errors - 49.5).abs().max() < 0.1
    exact = log_odds_of(margins, torch.zeros(9))
    assert torch.equal(exact > 0, margins > 0)
    assert exact.abs().min() > 1000


def test_a_property_is_not_told_from_noise(victims):
    """More than 0.65 of 128 guesses are right by chance in 1 of 3000 cases, as are fewer than 0.35."""
    with isolated(0, "noise"):
        view, images, labels = victims(Independent())
        guess = AttributeInference(decoder_steps=5, search_steps=10).infer(view)
    assert 0.35 < right(guess, AttributeInference().values(images, labels, view.auxiliary)) < 0.65


@pytest.mark.parametrize("attribute", MEASURES)
def test_the_label_says_nothing_of_a_property(make_view, attribute):
    known = make_view(stem(), stems=(stem(),) * (CLIENTS - 1), auxiliary=800)[0].auxiliary
    values = AttributeInference(attribute=attribute).values(known.images, known.labels, known)
    for label in range(10):
        own = values[known.labels == label]
        assert abs(float(own.double().mean()) - 0.5) < 1.01 / len(own)


def test_raw_pixels_show_a_classifier_the_property(victims):
    view, images, labels = victims(stem())
    known, attack = view.auxiliary, AttributeInference()

    def with_values(images, labels):
        return images, labels, attack.values(images, labels, known)

    guess = raw_pixel_guess(
        images,
        labels,
        train=with_values(known.images, known.labels),
        validation=with_values(known.validation_images, known.validation_labels),
        classes=10,
        seed=0,
    )
    assert right(guess, attack.values(images, labels, known)) > 0.8


def test_the_known_sampler_gives_the_probabilities_of_sent_labels(victims):
    view, *_ = victims(stem(), LabelRr(epsilon=2.0))
    channel = label_channel(view, view.seen[0], adaptive=True)
    torch.testing.assert_close(channel.sum(dim=1), torch.ones(10, dtype=torch.float64))
    # 256 draws: a deviation of 0.031.
    assert float(channel.diagonal().mean()) == pytest.approx(keep_probability(2.0, 10), abs=0.1)
    assert float(label_channel(view, view.seen[0], adaptive=False).diagonal().min()) > 0.99


def test_protected_labels_are_told_from_smashed_data(victims):
    view, _, labels = victims(stem(), LabelRr(epsilon=1.0))
    sent = torch.cat([batch.labels for batches in view.batches for batch in batches])
    assert right(sent, labels) < 0.4
    assert right(LabelInference().infer(view), labels) > 0.85
    assert right(sent, labels) < right(LabelClustering().infer(view), labels)


def test_a_few_labels_per_class_go_a_long_way(victims):
    view, _, labels = victims(stem(), LabelRr(epsilon=0.1))
    assert right(LabelInference(labels_per_class=5).infer(view), labels) > 0.6


def test_where_nothing_is_sent_the_protected_label_is_the_best_guess(victims):
    with isolated(0, "noise"):
        view, _, _ = victims(Independent(), LabelRr(epsilon=4.0))
        sent = torch.cat([batch.labels for batches in view.batches for batch in batches])
        assert right(LabelInference().infer(view), sent) > 0.95


@pytest.mark.parametrize("labels_per_class", [0, 1])
def test_no_kernel_classifier_of_activations_that_are_not_finite_or_that_are_its_own_judge(
    labels_per_class, victims, monkeypatch
):
    class Unwanted(KernelClassifier):
        def __init__(self, *_, **__):
            raise AssertionError("it was fitted")

    monkeypatch.setattr(label_inference, "KernelClassifier", Unwanted)
    half = stem() if labels_per_class else NotFinite()
    view, _, labels = victims(half, LabelRr(epsilon=1.0))
    assert len(LabelInference(labels_per_class=labels_per_class).infer(view)) == len(labels)


@pytest.mark.parametrize("attack", [LabelInference(), LabelClustering()])
def test_labels_in_clear_are_not_inferred(attack):
    target = Target(tier=1, input_shape=(1, 8, 8), cut_shape=(8, 8, 8), classes=10, defense=DefenseChain())
    with pytest.raises(InputError, match="the attacked run sends them in clear"):
        attack.check(target)
    attack.check(replace(target, defense=DefenseChain([LabelRr()])))


def test_the_mix_of_labels_is_found_behind_randomised_response():
    """Shares of 20,000 draws: four deviations of the estimate are below 0.03, and the draws are fixed."""
    keep = keep_probability(1.0, 3)
    channel = torch.full((3, 3), (1 - keep) / 2, dtype=torch.float64)
    channel.fill_diagonal_(keep)
    truth = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    sent = torch.multinomial(truth @ channel, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix_of_labels(sent, channel), truth, atol=0.03, rtol=0)


def test_the_first_of_each_class():
    assert first_of_each_class(torch.tensor([0, 1, 0, 1, 0]), 2).tolist() == [True, True, True, True, False]
