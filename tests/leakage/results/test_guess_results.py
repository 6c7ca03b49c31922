"""Guesses against the truth: known answers through the whole judgement."""

import numpy as np
import pytest
import torch

from dtfl_private.leakage.baselines import Known
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.image_results import baseline_results, image_results
from dtfl_private.leakage.results.membership_results import membership_results
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.results.value_results import value_results
from dtfl_private.leakage.significance import LEVEL
from dtfl_private.verdicts.verdict import beats_guess, tier_verdicts

HEADING = Heading(tier=2, cut=(4, 8, 8), source="some-attack", adaptive=True, adversary="server-malicious", seed=0)


@pytest.fixture
def images_and_labels():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 3
    bright = torch.tensor([0.2, 0.5, 0.8])[labels].view(-1, 1, 1, 1)
    truth = (bright + 0.1 * torch.rand(24, 1, 8, 8, generator=generator)).clamp(0, 1)
    auxiliary = (bright + 0.1 * torch.rand(24, 1, 8, 8, generator=generator)).clamp(0, 1)
    return truth, labels, Known(images=auxiliary, labels=labels, victim_labels=labels, truth=truth)


def named(results, metric):
    (found,) = [result for result in results if result.metric == metric]
    return found


def classify(images):
    return (images.flatten(1).mean(dim=1) * 3).long().clamp(0, 2)


def test_the_truth_itself_is_a_perfect_guess(images_and_labels):
    truth, labels, known = images_and_labels
    judged = image_results([truth, truth], known, truth, labels, classify, HEADING)
    assert named(judged.results, "mse").value == 0
    assert named(judged.results, "ssim").value == pytest.approx(1)
    assert named(judged.results, "psnr").value == 100
    assert named(judged.results, "identifiability").value == 1
    assert named(judged.results, "classifier-accuracy").value == 1
    # Two equal guesses are one repetition.
    assert (named(judged.results, "mse").n, named(judged.results, "mse").seeds) == (24, 1)
    assert judged.scores["mse"].shape == (2, 24)


def test_a_constant_offset_has_its_closed_form(images_and_labels):
    truth, labels, known = images_and_labels
    found = named(image_results([truth * 0.5], known, truth * 0.5 + 0.1, labels, None, HEADING).results, "mse")
    assert found.value == pytest.approx(0.01, abs=1e-6)
    assert found.ci_low == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_image_rebuilt_perfectly_beats_no_guess(images_and_labels, seeds):
    """Its interval had no width, and with it a verdict said that images leak."""
    truth, labels, _ = images_and_labels
    results = image_results([truth[:1]] * seeds, None, truth[:1], labels[:1], classify, HEADING).results
    assert {result.metric for result in results} >= {"mse", "ssim", "psnr", "identifiability", "ssim-worst-5"}
    for result in results:
        assert not result.has_spread
        assert not beats_guess(result)
        limits = find_metric(result.metric).limits
        assert (result.ci_low, result.ci_high) == pytest.approx(limits)


def test_the_baseline_is_the_stronger_of_what_an_adversary_can_guess(images_and_labels):
    truth, labels, known = images_and_labels
    judged = image_results([truth], known, truth, labels, classify, HEADING)
    class_mean = named(baseline_results("class-mean", known, labels, classify, HEADING), "psnr")
    mean_image = named(baseline_results("mean-image", known, labels, classify, HEADING), "psnr")
    assert class_mean.value > mean_image.value
    assert named(judged.results, "psnr").baseline == pytest.approx(class_mean.value)
    assert named(judged.results, "psnr").baseline_name == "class-mean"


def test_without_auxiliary_data_a_grey_image_is_the_trivial_guess(images_and_labels):
    truth, labels, _ = images_and_labels
    found = named(image_results([truth], None, truth, labels, None, HEADING).results, "mse")
    assert found.baseline_name == "grey-image"
    assert found.baseline == pytest.approx(float((truth - 0.5).square().mean()), rel=1e-5)


def test_the_worst_images_are_the_best_reconstructed_ones(images_and_labels):
    truth, labels, known = images_and_labels
    guess = truth.clone()
    guess[1:] = 0
    results = image_results([guess], known, truth, labels, None, HEADING).results
    assert named(results, "mse-worst-5").value == 0
    assert named(results, "mse").value > 0.1


def test_membership_scores_are_judged_by_who_is_one():
    member = torch.tensor([True, False] * 50)
    perfect = member.float()
    results = membership_results([perfect, perfect], member, HEADING)
    assert named(results, "auc").value == 1
    assert named(results, "balanced-accuracy").value == 1
    assert named(results, "tpr-at-fpr-0.01").value == 1
    # Fifty non-members cannot show a false-positive rate of 1 %: shown is the rate without false alarms.
    assert named(results, "tpr-at-fpr-0.01").baseline == pytest.approx(1 / 51)
    assert named(membership_results([-perfect], member, HEADING), "auc").value == 0


def test_scores_that_say_nothing_give_an_interval_around_one_half():
    # False alarm: a 95 % interval misses once in 20; the stream is fixed, so that it is the same each time.
    member = torch.arange(200) % 2 == 0
    scores = torch.from_numpy(np.random.default_rng(5).standard_normal(200))
    found = named(membership_results([scores], member, HEADING), "auc")
    assert found.ci_low <= 0.5 <= found.ci_high


def test_values_are_compared_with_the_best_trivial_guess():
    truth = torch.tensor([0, 0, 0, 1])
    trivial = {"majority": torch.zeros(4, dtype=torch.int64), "other": torch.ones(4, dtype=torch.int64)}
    results = value_results([truth], truth, trivial, {"pixels": truth}, HEADING)
    assert named(results, "accuracy").value == 1
    assert (named(results, "accuracy").baseline_name, named(results, "accuracy").baseline) == ("majority", 0.75)
    assert named(results, "accuracy-of-pixels").value == 1


@pytest.fixture
def victims():
    """64 victims that differ from their class mean by far more than the attack's reconstructions get nearer to them."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(64) % 4
    truth = torch.rand(64, 1, 8, 8, generator=generator) * torch.rand(64, 1, 1, 1, generator=generator)
    auxiliary = torch.rand(64, 1, 8, 8, generator=generator) * torch.rand(64, 1, 1, 1, generator=generator)
    return truth, labels, Known(images=auxiliary, labels=labels, victim_labels=labels, truth=truth)


def test_an_attack_that_is_nearer_to_each_victim_than_any_guess_is_found(victims):
    truth, labels, known = victims
    # A twentieth of the way from the mean auxiliary image to the truth.
    guess = 0.95 * known.images.mean(dim=0, keepdim=True) + 0.05 * truth
    results = image_results([guess], known, truth, labels, None, HEADING).results
    found = named(results, "mse")
    # The interval of the mean over victims covers the guess: by that alone the attack would not be noticed.
    assert found.ci_low < found.baseline < found.ci_high
    assert found.p_value < LEVEL
    assert 0 < found.advantage_ci_low < found.advantage == pytest.approx(found.baseline - found.value)
    (verdict,) = tier_verdicts(results, valid=True)
    assert verdict.level in ("partly exposed", "exposed")


def test_a_trivial_guess_does_not_beat_itself(victims):
    truth, labels, known = victims
    guess = known.images.mean(dim=0, keepdim=True).expand_as(truth)
    results = image_results([guess] * 3, known, truth, labels, None, HEADING).results
    assert not any(map(beats_guess, results))
    assert {result.seeds for result in results} == {1}
    assert [verdict.level for verdict in tier_verdicts(results, valid=True)] == ["not shown to leak"]


def test_repetitions_of_a_deterministic_attack_count_once_in_every_goal():
    generator = torch.Generator().manual_seed(0)
    member, scores = torch.arange(64) % 2 == 0, torch.randn(64, generator=generator)
    assert membership_results([scores] * 3, member, HEADING) == membership_results([scores], member, HEADING)
    guess, truth, trivial = scores > 0, scores > 0.5, {"majority": torch.zeros(64, dtype=torch.bool)}
    assert value_results([guess] * 3, truth, trivial, {}, HEADING) == value_results(
        [guess], truth, trivial, {}, HEADING
    )


def test_what_can_be_compared_with_a_guess_has_a_p_value(victims):
    truth, labels, known = victims
    member = torch.arange(64) % 2 == 0
    results = [
        *image_results([truth], known, truth, labels, classify, HEADING).results,
        *membership_results([member.double()], member, HEADING),
        *value_results([labels], labels, {"majority": torch.zeros_like(labels)}, {}, HEADING),
    ]
    tested = {result.metric for result in results if result.p_value is not None}
    images = {"mse", "psnr", "ssim", "identifiability", "classifier-accuracy"}
    assert tested == {*images, "auc", "tpr-at-fpr-0.01", "tpr-at-fpr-0.001", "accuracy"}
    sure = {result.metric for result in results if beats_guess(result)}
    assert sure >= tested - {"classifier-accuracy"}
