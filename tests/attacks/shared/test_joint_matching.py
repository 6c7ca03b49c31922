"""Images that explain several releases at once, against what is known of the best ones."""

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.feature_matching import Matching
from dtfl_private.attacks.shared.joint_matching import JointSearch, Programs
from dtfl_private.attacks.shared.linking import LinkedReleases, Links, Release
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.micro_aggregation import MicroAggregation
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.randomness import isolated

ALL = torch.ones(4, dtype=torch.bool)
EXACTLY = Matching(steps=150, lr=0.1, smoothness=0.0)


def fixed(program: ClientProgram) -> Programs:
    return lambda _: [program]


def two_releases(first: Tensor, second: Tensor, order: Tensor, mirrored: Tensor) -> LinkedReleases:
    """Two releases (of 4 records, and of more) of an identity: record i is at ``order[i]`` of the second."""
    releases = [
        Release(images=one, labels=torch.zeros(len(one)).long(), smashed=one, batches=torch.zeros(len(one)).long())
        for one in (first, second)
    ]
    links = [Links(places=torch.arange(4), mirrored=~ALL, found=ALL), Links(places=order, mirrored=mirrored, found=ALL)]
    return LinkedReleases(releases=releases, links=links)


def program_of(view: View) -> ClientProgram:
    return view.program(view.seen[0], adaptive=True)


def test_of_equally_noisy_pictures_their_mean_is_likeliest(make_view):
    view, _ = make_view(nn.Identity(), GaussianNoise(sd=0.2))
    program = program_of(view)
    chance = torch.Generator().manual_seed(0)
    first, second = (0.3 + 0.4 * torch.rand(size, 1, 16, 16, generator=chance) for size in (4, 6))
    order, mirrored = torch.tensor([5, 0, 2, 1]), torch.tensor([True, False, True, False])
    sent = two_releases(program.inputs(first), program.inputs(second), order, mirrored)
    found = JointSearch(sent, [fixed(program)] * 2, torch.full_like(first, 0.5)).found(EXACTLY)
    back = torch.where(mirrored[:, None, None, None], second[order].flip(-1), second[order])
    # The release of the smaller norm is no weaker: it is noise that counts.
    torch.testing.assert_close(found, (first + back) / 2, atol=2e-3, rtol=0)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.Identity()])
def test_who_else_is_in_a_batch_is_searched_for_too(norm, make_view):
    with isolated(0, "stem"):
        stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), norm)
    view, truth = make_view(stem)
    program, labels = program_of(view), torch.zeros(len(truth)).long()
    sent = view.seen[0].batches[0].smashed
    blurred = (truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    release = Release(images=blurred, labels=labels, smashed=sent, batches=labels)
    links = Links(places=torch.arange(4), mirrored=~ALL, found=ALL)
    search = JointSearch(LinkedReleases(releases=[release], links=[links]), [fixed(program)], blurred[:4])
    # By the norm of the linked records alone it is 50 dB.
    assert psnr(search.found(EXACTLY), truth[:4]).min() > 60


def test_of_several_weights_those_are_taken_that_explain_a_batch(make_view):
    view, truth = make_view(nn.Conv2d(1, 4, 3, padding=1), stems=(nn.Conv2d(1, 4, 3, padding=1),))
    one, other = (view.program(seen, adaptive=True) for seen in view.seen)
    sent = one.expected(truth[:4]).detach()
    release = Release(images=truth[:4], labels=torch.zeros(4).long(), smashed=sent, batches=torch.zeros(4).long())
    linked = LinkedReleases(releases=[release], links=[Links(places=torch.arange(4), mirrored=~ALL, found=ALL)])
    for guesses in ([one, other], [other, one]):
        assert JointSearch(linked, [lambda _, guesses=guesses: guesses], truth[:4]).residuals(truth[:4]).max() < 1e-6


def test_means_of_groups_are_intersected(make_view):
    """Three releases of four pictures in pairs, each in other ones, tell them all; in one, with a stranger."""
    view, _ = make_view(nn.Identity(), MicroAggregation(k=2))
    program = program_of(view)
    pictures = 0.2 + 0.6 * torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs, labels = program.inputs(pictures), torch.zeros(5).long()
    groups = [torch.tensor(numbers) for numbers in ([0, 0, 1, 1, 1], [0, 1, 0, 1, 0], [0, 1, 1, 0, 0])]
    releases = []
    for numbers in groups:
        means = torch.stack([inputs[numbers == number].mean(dim=0) for number in (0, 1)])[numbers]
        releases.append(Release(images=torch.full_like(pictures, 0.5), labels=labels, smashed=means, batches=labels))
    links = [Links(places=torch.arange(4), mirrored=~ALL, found=ALL)] * 3
    start = torch.full_like(pictures[:4], 0.5)
    known = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    assert torch.linalg.matrix_rank(known.double()) < 4  # two releases would not do
    errors = []
    for count in (1, 3):
        linked = LinkedReleases(releases=releases[:count], links=links[:count])
        found = JointSearch(linked, [fixed(program)] * count, start).found(Matching(steps=400, lr=0.1, smoothness=0.0))
        errors.append(float((found - pictures[:4]).square().mean().sqrt()))
    assert errors[0] > 0.08
    assert errors[1] < 0.5 * errors[0]
