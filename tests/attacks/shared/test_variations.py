"""Variations of an adversary's own images."""

import pytest
import torch

from dtfl_private.attacks.shared.variations import varied, varied_share

COUNT = 400
SHARE = 0.75


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def made(images: torch.Tensor, labels: torch.Tensor, *augmentations: str, seed: int = 1) -> torch.Tensor:
    return varied(images, labels, augmentations, SHARE, torch.Generator().manual_seed(seed))


def test_they_are_images_of_the_same_shape_and_change_nothing_that_they_are_given(images):
    before, labels = images.clone(), torch.arange(COUNT) % 10
    found = made(images, labels)
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(images, before)


def test_a_share_is_varied_and_chance_decides_which(images):
    """Five standard deviations of the share: 1 false alarm in 1.7 million seeds, and the seed is fixed."""
    labels = torch.arange(COUNT) % 10
    changed = [~(made(images, labels, seed=seed) == images).flatten(1).all(dim=1) for seed in (1, 1, 2)]
    spread = (SHARE * (1 - SHARE) / COUNT) ** 0.5
    assert changed[0].double().mean().item() == pytest.approx(SHARE, abs=5 * spread)
    assert torch.equal(changed[0], changed[1])
    assert not torch.equal(changed[0], changed[2])


def test_only_images_of_one_class_are_mixed():
    """Flat images stay flat however they are moved, so that a value between two classes could come of mixing alone."""
    labels = torch.arange(COUNT) % 2
    flat = labels.float().view(-1, 1, 1, 1).expand(COUNT, 1, 8, 8)
    torch.testing.assert_close(made(flat, labels), flat)
    one_class = made(flat, torch.zeros(COUNT, dtype=torch.int64))
    between = (one_class > 0.01) & (one_class < 0.99)
    assert between.flatten(1).all(dim=1).double().mean() > 0.1


def test_they_are_mirrored_only_where_clients_mirror_theirs():
    left = torch.zeros(COUNT, 1, 8, 8)
    left[..., :4] = 1
    labels = torch.zeros(COUNT, dtype=torch.int64)
    kept, mirrored = made(left, labels), made(left, labels, "crop", "flip")
    assert (kept[..., 0].mean(dim=(1, 2)) > 0.5).all()
    assert 0.2 < (mirrored[..., 0].mean(dim=(1, 2)) < 0.5).double().mean() < 0.6


def test_of_many_images_fewer_are_varied():
    shares = [varied_share(count) for count in (1, 225, 1000, 4167)]
    assert shares == sorted(shares, reverse=True)
    assert shares[:2] == [0.75, 0.75]
    assert shares[-1] < 0.2
