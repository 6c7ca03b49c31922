"""The mean of likely images: against the closed form of a normal posterior, and where it serves a search's images."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from dtfl_private.attacks import hybrid
from dtfl_private.attacks.hybrid import AVERAGED, Hybrid
from dtfl_private.attacks.shared import inverse_network, posterior_mean
from dtfl_private.attacks.shared.class_prior import ClassPrior, normal_by_label
from dtfl_private.attacks.shared.guesses import FIRST
from dtfl_private.attacks.shared.posterior_sampling import Sampler, has_many_likely_images
from dtfl_private.plugins.registry import create
from dtfl_private.protection.release_reading import Reading, log_likelihood

LABELS = torch.tensor([0, 1, 1])


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    """Few images to average and a narrow network, for a decoder whose quality does not matter here."""
    monkeypatch.setattr(posterior_mean, "MOST_IMAGES", 600)
    monkeypatch.setattr(inverse_network, "_WIDTHS", {"small": 64})


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


WEIGHTS = drawn(3, 4, seed=0).float()


@dataclass(frozen=True)
class Program:
    """Sends three numbers made of four grey pixels, with noise."""

    deviation: float = 0.02
    shape: str = "normal"
    device: str = "cpu"
    weights: torch.Tensor = WEIGHTS

    def read(self, received):
        return Reading.of(received).noisier(self.deviation, self.shape)

    def expected(self, images):
        return images.flatten(1) @ self.weights.T


def test_a_chain_s_mean_is_that_of_the_normal_posterior():
    directions = torch.linalg.qr(drawn(4, 3, seed=1))[0].float()
    roots = torch.linalg.cholesky(
        0.002 * torch.stack([torch.eye(3).double(), torch.diag(torch.tensor([1.0, 4.0, 0.2]))])
    )
    prior = ClassPrior(means=torch.tensor([[0.4] * 4, [0.6] * 4]), directions=directions, roots=roots)
    program, images = Program(), 0.5 + 0.1 * drawn(3, 4, seed=3).float().clamp(-1, 1)
    sent = images @ program.weights.T
    seen = (program.weights @ directions).double()
    information = seen.T @ seen / 0.02**2
    # The curvature is only known about: what the chain is drawn to must not depend on it.
    values = torch.linalg.inv(torch.linalg.cholesky(torch.eye(3) + roots.mT @ (0.5 * information) @ roots)).mT
    sampler = Sampler(prior=prior, along=roots @ values, values=values)
    start, chance = torch.full((3, 1, 2, 2), 0.5), torch.Generator().manual_seed(0)
    found = sampler.average(program, sent, LABELS, start, 2000, chance).flatten(1)
    for record, label in enumerate(LABELS):
        mean, covariance = prior.means[label].double(), roots[label] @ roots[label].T
        left = sent[record].double() - program.weights.double() @ mean
        gain = covariance @ seen.T @ torch.linalg.inv(seen @ covariance @ seen.T + 0.02**2 * torch.eye(3))
        right = mean + directions.double() @ gain @ left
        torch.testing.assert_close(found[record].double(), right, rtol=0, atol=0.007)
        assert (right - mean).abs().max() > 0.03  # what was sent says something


def test_under_laplace_noise_a_chain_s_mean_is_that_of_all_images_by_their_likelihood():
    program, along = Program(deviation=0.3, shape="laplace"), torch.linspace(-0.5, 0.5, 2001).double()
    direction, mean = torch.full((4, 1), 0.5), torch.full((1, 4), 0.5)
    prior = ClassPrior(means=mean, directions=direction, roots=torch.full((1, 1, 1), 0.15).double())
    sent = mean @ program.weights.T + torch.tensor([[0.3, -0.1, -0.4]])
    every = mean + along[:, None].float() @ direction.T
    densities = log_likelihood(program.read(sent.expand(2001, 3)), program.expected(every))
    densities = densities - (along / 0.15).square() / 2
    right = (densities.softmax(dim=0) * along).sum()
    assert (right - along[densities.argmax()]).abs() > 0.03  # no search's image
    values = torch.full((1, 1, 1), 0.7).double()
    sampler = Sampler(prior=prior, along=prior.roots @ values, values=values)
    start, chance = mean.view(1, 1, 2, 2), torch.Generator().manual_seed(0)
    found = sampler.average(program, sent, torch.tensor([0]), start, 2000, chance).flatten(1)
    assert float((found - mean) @ direction) == pytest.approx(float(right), abs=0.017)


def test_images_behind_a_sent_label_are_a_mixture_of_classes():
    labels = torch.arange(3).repeat(200)
    images = drawn(600, 5, seed=2) * torch.tensor([0.1, 0.2, 0.3])[labels][:, None] + labels[:, None] / 2
    behind = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]).double()
    means, directions, roots = normal_by_label(images, labels, behind)
    classes = [images[labels == label] for label in range(3)]
    torch.testing.assert_close(means[0], classes[0].mean(dim=0))
    torch.testing.assert_close(means[1], (classes[1].mean(dim=0) + classes[2].mean(dim=0)) / 2)
    own = [torch.cov(one.T, correction=0) for one in classes]
    shrunk = [(one + sum(own) / 3) / 2 for one in own]
    apart = classes[1].mean(dim=0) - means[1]
    floor = 0.003 * torch.eye(5)
    expected = (shrunk[0] + floor, (shrunk[1] + shrunk[2]) / 2 + torch.outer(apart, apart) + floor)
    for root, covariance in zip(roots, expected, strict=True):
        torch.testing.assert_close(directions @ root @ root.T @ directions.T, covariance, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("defense", "many"),
    [
        ("gaussian-noise:sd=1", True),
        ("laplace-noise:sd=1", True),
        ("fisher-noise", True),
        ("quantize", False),
        ("identity", False),
    ],
)
def test_noise_but_that_of_rounding_leaves_many_images_likely(defense, many):
    received = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert has_many_likely_images(create("defense", defense).read(Reading.of(received))) is many


def test_hybrid_takes_the_mean_of_likely_images_where_it_serves_best(make_view, small_digits, monkeypatch):
    truth = {}

    def average(_self, _program, smashed, _labels, start, *_steps_and_chance):
        """Return the images themselves, of whichever batch was sent."""
        return truth.get(len(smashed), start).to(start)

    monkeypatch.setattr(Sampler, "average", average)
    noise = create("defense", "laplace-noise:sd=1")
    view, images = make_view(nn.Conv2d(1, 4, 3, padding=1), noise, images=small_digits)
    validation = hybrid.tuning_batches(view, True)
    monkeypatch.setattr(hybrid, "tuning_batches", lambda *_: validation[:1])
    truth[len(images)] = validation[0].images
    found = Hybrid(size="small", decoder_steps=2, steps=2).reconstruct(view)
    torch.testing.assert_close(found, validation[0].images)


def test_without_noise_nothing_is_averaged(make_view, small_digits, monkeypatch):
    offered = []
    monkeypatch.setattr(hybrid, "best_rule", lambda _, candidates: offered.append(candidates) or FIRST)
    for defense in ("laplace-noise:sd=1", "quantize", "identity"):
        view, _ = make_view(nn.Conv2d(1, 4, 3, padding=1), create("defense", defense), images=small_digits)
        Hybrid(size="small", decoder_steps=2, steps=2).reconstruct(view)
    assert [AVERAGED in candidates for candidates in offered] == [True, False, False]
