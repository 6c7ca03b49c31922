import pytest
import torch

from dtfl_private.leakage import baselines
from dtfl_private.leakage.baselines import BASELINES, GUESSES, ORACLES, Known, class_mean, mean_image, nearest

IMAGES = torch.tensor([0.0, 0.2, 0.4, 1.0]).reshape(4, 1, 1, 1).expand(4, 2, 3, 3)
LABELS = torch.tensor([0, 0, 1, 1])


def level(images: torch.Tensor) -> list[float]:
    """Return the value of flat images."""
    assert images.shape[1:] == (2, 3, 3)
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
    return images[:, 0, 0, 0].tolist()


def test_the_mean_image_is_the_best_constant_guess():
    assert level(mean_image(IMAGES, 3)) == pytest.approx([0.4] * 3)
    errors = {guess: float((IMAGES - guess).square().mean()) for guess in (0.35, 0.4, 0.45)}
    assert min(errors, key=errors.__getitem__) == 0.4


def test_the_mean_of_a_class_and_of_all_for_a_class_that_has_no_images():
    assert level(class_mean(IMAGES, LABELS, torch.tensor([1, 0, 2, 1]))) == pytest.approx([0.7, 0.1, 0.4, 0.7])


def test_the_nearest_auxiliary_image_is_nearest_to_the_truth(monkeypatch):
    monkeypatch.setattr(baselines, "CHUNK", 2)
    truth = torch.tensor([0.09, 0.11, 0.75, 0.29, 1.0]).reshape(5, 1, 1, 1).expand(5, 2, 3, 3)
    assert level(nearest(IMAGES, truth)) == pytest.approx([0.0, 0.2, 1.0, 0.2, 1.0])


def test_the_nearest_is_that_of_all_distances():
    generator = torch.Generator().manual_seed(0)
    images, truth = torch.rand(30, 1, 5, 5, generator=generator), torch.rand(20, 1, 5, 5, generator=generator)
    distances = torch.cdist(truth.flatten(1), images.flatten(1))
    assert torch.equal(nearest(images, truth), images[distances.argmin(dim=1)])


def test_every_baseline_guesses_all_victims_and_only_the_oracle_looks_at_the_truth():
    victims = torch.tensor([0, 1, 1])
    truth = torch.stack([torch.zeros(3, 2, 3, 3), torch.ones(3, 2, 3, 3)])
    for name, make in BASELINES.items():
        first, second = (make(Known(images=IMAGES, labels=LABELS, victim_labels=victims, truth=t)) for t in truth)
        assert first.shape == (3, 2, 3, 3)
        assert torch.equal(first, second) == (name not in ORACLES), name
    assert GUESSES > ORACLES > set()
