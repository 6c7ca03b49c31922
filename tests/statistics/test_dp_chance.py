"""Chance in the defenses with a guarantee. The draws are seeded: a test fails always or never.

The bounds are five standard deviations wide: a right implementation with another stream would fail with probability
6e-7 per bound. Each check is shown to reject a scale or rate that is wrong by a tenth.
"""

import math

import pytest
import torch
from torch import nn

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dp_weights import DpWeights, poisson_sample
from dtfl_private.defenses.label_rr import LabelRr, keep_probability
from dtfl_private.numerics import Numerics
from dtfl_private.protection.client_context import ClientRound, LocalTraining
from dtfl_private.protocol.messages import SmashedBatch

SIGMAS = 5


def plausible_rate(hits, trials, rate):
    return abs(hits - trials * rate) <= SIGMAS * math.sqrt(trials * rate * (1 - rate))


def plausible_noise(values, deviation):
    """Normal theory: mean 0 to deviation/sqrt(n), standard deviation to deviation/sqrt(2n)."""
    values = values.double().flatten()
    centred = abs(float(values.mean())) <= SIGMAS * deviation / math.sqrt(len(values))
    scaled = abs(float(values.std()) - deviation) <= SIGMAS * deviation / math.sqrt(2 * len(values))
    # Tails: a normal value lies beyond two deviations with probability 0.0455.
    tails = plausible_rate(int((values.abs() > 2 * deviation).sum()), len(values), 0.0455003)
    return centred and scaled and tails


def assert_noise_of(values, deviation):
    assert plausible_noise(values, deviation)
    assert not plausible_noise(values, 1.1 * deviation)
    assert not plausible_noise(values, 0.9 * deviation)
    assert not plausible_noise(values.sign() * deviation, deviation)


def assert_rate_of(hits, trials, rate):
    assert plausible_rate(hits, trials, rate)
    assert not plausible_rate(hits, trials, 1.1 * rate)
    assert not plausible_rate(hits, trials, 0.9 * rate)


def at(round_=1, records=1000, classes=10):
    return ClientRound(seed=7, client=3, round=round_, tier=1, records=records, classes=classes)


def pure_noise_step(defense, batch_size, monkeypatch):
    """Return what one step with an empty sample adds to 30,000 weights at learning rate 1."""
    monkeypatch.setattr("dtfl_private.defenses.dp_weights.poisson_sample", lambda *_: torch.zeros(0, dtype=torch.int64))
    layer = nn.Linear(300, 100, bias=False)
    before = layer.weight.detach().clone()
    training = LocalTraining(
        modules=layer.train(),
        mean_loss=lambda inputs, _: layer(inputs).mean(),
        fetch=lambda records: (torch.zeros(len(records), 300), records),
        optimizer=torch.optim.SGD(layer.parameters(), lr=1.0),
        records=1000,
        batch_size=batch_size,
        steps=1,
        numerics=Numerics(),
    )
    defense.training_pass(training, at())
    return layer.weight.detach() - before


@pytest.mark.parametrize(("noise", "clip", "batch"), [(1.3, 0.5, 20), (4.0, 2.0, 1000)])
def test_the_noise_on_the_mean_gradient_is_noise_multiplier_times_clip_over_the_expected_batch(
    noise, clip, batch, monkeypatch
):
    moved = pure_noise_step(DpWeights(noise_multiplier=noise, clip=clip), batch, monkeypatch)
    assert_noise_of(moved, noise * clip / batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_on_activations_is_noise_multiplier_times_clip(dtype):
    message = SmashedBatch(
        client=3,
        round=1,
        tier=1,
        batch=0,
        smashed=torch.zeros(40, 4, 16, 16, dtype=dtype),
        labels=torch.zeros(40).long(),
    )
    noisy = DpActivations(noise_multiplier=0.4, clip=3.0).protect_batch(message, at()).smashed
    assert_noise_of(noisy, 0.4 * 3.0)
    # Fresh in every message: the difference of two has twice the variance.
    where = at()
    pair = [DpActivations(noise_multiplier=0.4, clip=3.0).protect_batch(message, where).smashed for _ in range(2)]
    assert_noise_of(pair[0] - pair[1], math.sqrt(2) * 0.4 * 3.0)


def samples(records, rate, steps):
    """Return which records were drawn in which step, (steps, records), over a client's rounds."""
    drawn = torch.zeros(steps, records, dtype=torch.bool)
    where = at()
    for step in range(steps):
        drawn[step, poisson_sample(records, rate, where.chance)] = True
    return drawn


def test_the_sample_of_a_step_has_each_record_at_its_rate():
    drawn = samples(200, 0.16, 1500)
    assert_rate_of(int(drawn.sum()), drawn.numel(), 0.16)
    per_record = drawn.sum(0)
    assert all(plausible_rate(int(hits), 1500, 0.16) for hits in per_record)


def test_its_size_varies_as_independent_draws_do():
    """A sampler of fixed size, or one that draws records in groups, has the rate right and the guarantee wrong."""
    rate, records, steps = 0.16, 200, 4000

    def plausible_spread(drawn):
        expected = records * rate * (1 - rate)
        # The sample variance of nearly normal values has a relative error of sqrt(2/n).
        return abs(float(drawn.sum(1).double().var()) - expected) <= SIGMAS * expected * math.sqrt(2 / steps)

    drawn = samples(records, rate, steps)
    assert plausible_spread(drawn)
    fixed = torch.zeros(steps, records, dtype=torch.bool)
    fixed[:, : int(rate * records)] = True
    assert not plausible_spread(fixed)
    in_pairs = drawn[:, : records // 2].repeat_interleave(2, dim=1)
    assert not plausible_spread(in_pairs)


def test_steps_draw_independently_of_each_other():
    drawn = samples(200, 0.3, 1000)
    again = int((drawn[1:] & drawn[:-1]).sum())
    assert_rate_of(again, drawn[1:].numel(), 0.3**2)


def told(epsilon, classes, records):
    truth = torch.arange(records) % classes
    where = at(records=records, classes=classes)
    return truth, LabelRr(epsilon=epsilon).protect_labels(truth, torch.arange(records), where)


@pytest.mark.parametrize(("epsilon", "classes"), [(0.5, 10), (2.0, 10), (1.0, 2), (3.0, 100)])
def test_labels_are_kept_at_their_rate_and_the_others_are_equally_likely(epsilon, classes):
    records = 60_000
    truth, drawn = told(epsilon, classes, records)
    keep = keep_probability(epsilon, classes)
    assert_rate_of(int((truth == drawn).sum()), records, keep)
    other = (1 - keep) / (classes - 1)
    offsets = torch.bincount((drawn - truth) % classes, minlength=classes)[1:]
    assert all(plausible_rate(int(hits), records, other) for hits in offsets)


def test_a_lie_that_may_be_the_truth_is_rejected():
    """Drawn among all ten classes, the lies keep a tenth of their labels."""
    truth, drawn = told(0.5, 10, 60_000)
    keep = keep_probability(0.5, 10)
    assert not plausible_rate(int((truth == drawn).sum()), 60_000, keep + (1 - keep) / 10)


def test_a_draw_is_independent_of_its_neighbours():
    truth, drawn = told(1.0, 2, 60_000)
    kept = truth == drawn
    keep = keep_probability(1.0, 2)
    assert_rate_of(int((kept[1:] & kept[:-1]).sum()), 59_999, keep**2)


def test_a_noise_that_is_wrong_by_a_tenth_in_the_defense_itself_is_rejected(monkeypatch):
    moved = pure_noise_step(DpWeights(noise_multiplier=0.9 * 1.3), 20, monkeypatch)
    assert not plausible_noise(moved, 1.3 / 20)
