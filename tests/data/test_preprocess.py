import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.preprocess import Normaliser, augment
from dtfl_private.experiments.config.field_kinds import Augmentation

# Positions and mirrorings are drawn uniformly: a test over them has this chance of a false alarm with a fresh seed.
FALSE_ALARM = 1e-6

AUGMENTATIONS = get_args(Augmentation)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_values() -> Tensor:
    return torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)


def test_normalising_is_scaling_to_one_then_centring_then_dividing():
    mean, deviation = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), torch.tensor([0.05, 0.3, 1.0]).double()
    inputs = Normaliser(mean, deviation)(all_values())
    plain = (all_values().numpy() / 255.0 - mean.view(3, 1, 1).numpy()) / deviation.view(3, 1, 1).numpy()
    assert inputs.dtype == torch.float32
    np.testing.assert_allclose(inputs.numpy(), plain, atol=2e-6)  # a few roundings of values up to 19


def test_normalised_training_images_have_mean_zero_and_deviation_one_in_each_channel():
    shades = torch.from_numpy(np.random.default_rng(0).integers(0, (50, 150, 256), (400, 8, 8, 3), dtype=np.uint8))
    images = shades.permute(0, 3, 1, 2).contiguous()
    labels = torch.zeros(400, dtype=torch.int64)
    dataset = ImageDataset(
        name="shades",
        source="made here",
        classes=("only",),
        train_images=images,
        train_labels=labels,
        test_images=images[:1],
        test_labels=labels[:1],
    )
    inputs = Normaliser.of(dataset).to("cpu")(images).double()
    np.testing.assert_allclose(inputs.mean(dim=(0, 2, 3)), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(inputs.std(dim=(0, 2, 3), correction=0), [1, 1, 1], atol=1e-5)


def distinct(batch: int) -> Tensor:
    """Return copies of an image of 16x12 pixels that are all different and not black, in two channels."""
    image = torch.arange(1, 16 * 12 + 1, dtype=torch.uint8).view(16, 12)
    return torch.stack([image, 255 - image]).expand(batch, 2, 16, 12).clone()


def window_of(image: Tensor, cut: Tensor, pad: int) -> tuple[int, int]:
    """Return top and left of the only window of the padded image that equals ``cut``, by trying all."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=image.dtype)
    padded[:, pad : pad + height, pad : pad + width] = image
    offsets = itertools.product(range(2 * pad + 1), repeat=2)
    (found,) = [
        (top, left) for top, left in offsets if torch.equal(padded[:, top : top + height, left : left + width], cut)
    ]
    return found


def assert_uniform(places: list[tuple[int, ...]], possible: int) -> None:
    _, counts = np.unique(np.array(places), axis=0, return_counts=True)
    assert len(counts) == possible
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_crop_cuts_a_uniformly_placed_window_of_the_image_padded_by_an_eighth():
    images = distinct(1500)
    cropped = augment(images, ["crop"], generator())
    assert cropped.shape == images.shape
    assert cropped.dtype == torch.uint8
    assert_uniform([window_of(image, cut, 2) for image, cut in zip(images, cropped, strict=True)], 25)


def test_crop_pads_even_the_smallest_images_by_one():
    images = distinct(400)[:, :, :4, :4]
    cropped = augment(images, ["crop"], generator())
    assert_uniform([window_of(image, cut, 1) for image, cut in zip(images, cropped, strict=True)], 9)


def test_flip_mirrors_half_of_the_images_left_and_right():
    images = distinct(2000)
    flipped = augment(images, ["flip"], generator())
    mirrored = [bool(torch.equal(new, old.flip(-1))) for new, old in zip(flipped, images, strict=True)]
    for new, old, is_mirrored in zip(flipped, images, mirrored, strict=True):
        assert is_mirrored or torch.equal(new, old)
    assert stats.binomtest(sum(mirrored), len(mirrored), 0.5).pvalue > FALSE_ALARM


def test_cutout_blacks_out_a_uniformly_placed_square_of_a_quarter_of_the_side():
    images = distinct(3000)
    holed = augment(images, ["cutout"], generator())
    corners = []
    for new, old in zip(holed, images, strict=True):
        rows, columns = torch.nonzero(new[0] == 0, as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        plain = old.clone()
        plain[:, top : top + 4, left : left + 4] = 0
        assert torch.equal(new, plain)
        corners.append((top, left))
    assert_uniform(corners, (16 - 4 + 1) * (12 - 4 + 1))


@pytest.mark.parametrize("names", [[kind] for kind in AUGMENTATIONS] + [list(AUGMENTATIONS)])
def test_the_generator_alone_decides_and_the_images_given_stay_as_they_are(names):
    images = distinct(50)
    torch.manual_seed(1)
    first = augment(images, names, generator(3))
    torch.manual_seed(2)
    assert torch.equal(augment(images, names, generator(3)), first)
    assert not torch.equal(augment(images, names, generator(4)), first)
    assert torch.equal(images, distinct(50))


def test_all_kinds_are_applied_in_one_order_however_they_are_named():
    images = distinct(50)
    one_by_one = generator()
    expected = images
    for kind in ("crop", "flip", "cutout"):
        expected = augment(expected, [kind], one_by_one)
    for names in itertools.permutations(AUGMENTATIONS):
        assert torch.equal(augment(images, names, generator()), expected)


def test_no_augmentation_changes_nothing_and_draws_nothing():
    chance = generator()
    before = chance.get_state()
    assert torch.equal(augment(distinct(3), [], chance), distinct(3))
    assert torch.equal(chance.get_state(), before)
