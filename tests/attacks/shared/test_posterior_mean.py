"""The mean of likely images, against the posterior mean that Bayes' rule gives, and where it serves best."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.shared.decoder_training import DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import decoded_by, trained_decoders
from dtfl_private.attacks.shared.fallback import guesses_of
from dtfl_private.attacks.shared.posterior_mean import PosteriorMean, bank_of
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.plugins.registry import create
from dtfl_private.protection.release_reading import Reading
from dtfl_private.randomness import isolated


@dataclass(frozen=True)
class Program:
    """Sends images with noise of deviation 0.5."""

    shape: str
    device: str = "cpu"

    def read(self, received):
        return Reading.of(received).noisier(0.5, self.shape)


@pytest.mark.parametrize("shape", ["normal", "laplace"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_posterior_mean(temperature, shape):
    chance = torch.Generator().manual_seed(0)
    images, sent = torch.rand(7, 1, 2, 2, generator=chance), torch.rand(3, 1, 2, 2, generator=chance)
    tells = torch.tensor([[0.7, 0.3], [0.2, 0.8]]).double().log()
    of_images, labels = torch.tensor([0, 0, 1, 1, 0, 1, 1]), torch.tensor([0, 1, 1])
    program, own = Program(shape), tells[of_images]
    bank = PosteriorMean(program=program, images=images, shown=images, tells=own, temperature=temperature)
    noise = {
        "normal": torch.distributions.Normal(images.double(), 0.5),
        "laplace": torch.distributions.Laplace(images.double(), 0.5 / math.sqrt(2)),
    }[shape]
    for record, label, found in zip(sent, labels, bank.decode(sent, labels), strict=True):
        density = noise.log_prob(record.double()).flatten(1).sum(dim=1) / temperature
        likely = density.exp() * tells[of_images, label].exp()
        right = (likely[:, None, None, None] * images).sum(dim=0) / likely.sum()
        torch.testing.assert_close(found, right.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("defense", "known"),
    [
        ("gaussian-noise:sd=1", True),
        ("dp-activations:noise_multiplier=1", True),
        ("laplace-noise:sd=1", True),
        ("fisher-noise", False),
        ("dropout", False),
        ("quantize", False),
        ("identity", False),
    ],
)
def test_it_is_for_normal_and_laplace_noise_of_a_known_deviation(defense, known):
    received = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert create("defense", defense).read(Reading.of(received)).has_known_noise is known


def test_under_much_noise_a_decoder_is_this_mean_and_better_than_its_network(make_view):
    with isolated(0, "stem"):
        stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
    view, truth = make_view(stem, create("defense", "gaussian-noise:sd=2"))
    training = DecoderTraining(size="small", steps=40)
    decoders = trained_decoders(view, training)
    batches = [(decoders.of(seen), batch) for seen in view.seen for batch in seen.batches]
    by_network = torch.cat([decoder.decode_by_network(batch.smashed, batch.labels) for decoder, batch in batches])
    found = decoded_by(view, decoders)
    guesses = [
        guess(torch.cat([batch.labels for _, batch in batches])) for guess in guesses_of(view.auxiliary).values()
    ]
    for other in (by_network, *guesses):
        assert psnr(found, truth).mean() > psnr(other, truth).mean() + 0.5
    assert torch.equal(found, Decoder(size="small", steps=40).reconstruct(view))


def test_images_are_compared_as_far_as_a_clip_lets_them_show(make_view):
    """Noise that is small beside what was clipped: the record itself is found, whatever its norm was."""
    chance = torch.Generator().manual_seed(0)
    view, _ = make_view(nn.Conv2d(1, 4, 3, padding=1), create("defense", "dp-activations:noise_multiplier=0.01,clip=1"))
    seen, images, labels = view.seen[0], view.auxiliary.images[:320], view.auxiliary.labels[:320]
    program = view.program(seen, adaptive=True)
    sent = program.release(images[:16], labels[:16])
    tells = torch.zeros(view.classes, view.classes)
    bank = bank_of(program, program.read(sent), images, labels, tells, 16, (), chance)
    assert bank.shown.flatten(1).norm(dim=1).max() <= 1.001
    assert psnr(bank.decode(sent, labels[:16]), images[:16]).min() > 40
