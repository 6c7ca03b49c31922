import numpy as np
import pytest
import torch

from dtfl_private.leakage import classifier as module
from dtfl_private.leakage.classifier import train_classifier


def patterns(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return grey 8x8 images of three patterns in noise, with labels."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (count,), generator=generator)
    return 0.6 * clean[labels] + 0.4 * torch.rand(count, 1, 8, 8, generator=generator), labels


@pytest.fixture(scope="module")
def trained():
    return train_classifier(*patterns(150, 1), *patterns(100, 2), classes=3, seed=0)


def test_it_learns_what_auxiliary_images_show_and_says_how_well(trained):
    images, labels = patterns(200, 3)
    assert trained.validation_accuracy == trained.accuracy(*patterns(100, 2)) > 0.95
    assert trained.accuracy(images, labels) > 0.95
    predicted = trained.predict(images)
    assert predicted.dtype == torch.int64
    assert predicted.shape == (200,)
    assert trained.accuracy(images, labels) == np.mean(predicted.numpy() == labels.numpy())


def test_a_flat_image_shows_no_class(trained):
    """Each gets the same class, right for those of that class only."""
    assert len(trained.predict(torch.full((30, 1, 8, 8), 0.5)).unique()) == 1


def test_the_same_seed_gives_the_same_classifier_and_draws_from_no_global_generator(trained):
    before = torch.get_rng_state()
    again = train_classifier(*patterns(150, 1), *patterns(100, 2), classes=3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    other = train_classifier(*patterns(150, 1), *patterns(100, 2), classes=3, seed=1)
    weights = [torch.cat([p.flatten() for p in found.network.parameters()]) for found in (trained, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_stops_and_keeps_the_best_epoch(monkeypatch):
    """Losses of validation as if made up: best in the second epoch, then four worse ones."""
    losses = iter([1.0, 0.5, 0.9, 0.8, 0.7, 0.6])
    seen = []

    def loss(network, *_):
        seen.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
        return next(losses)

    monkeypatch.setattr(module, "_loss", loss)
    found = train_classifier(*patterns(64, 1), *patterns(10, 2), classes=3, seed=0)
    assert len(seen) == 6
    kept = torch.cat([p.detach().flatten() for p in found.network.parameters()])
    assert torch.equal(kept, seen[1])
    assert not found.network.training


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 28, 28), (3, 30, 17)])
def test_images_of_any_shape_from_4x4_on(shape):
    images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))
    found = train_classifier(images, torch.arange(8) % 2, images, torch.arange(8) % 2, classes=2, seed=0)
    assert found.predict(images).shape == (8,)
