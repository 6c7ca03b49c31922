import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as load_sklearn_digits

from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.digits import load_digits
from dtfl_private.errors import InputError


def test_digits_have_1437_training_and_360_test_images_of_16x16():
    digits = load_digits()
    assert digits.train_images.shape == (1437, 1, 16, 16)
    assert digits.test_images.shape == (360, 1, 16, 16)
    assert digits.classes == tuple("0123456789")


def test_at_their_own_size_digits_are_scikit_learns_images_each_once():
    digits = load_digits(size=8)
    bundle = load_sklearn_digits()
    ours = np.concatenate(
        [
            np.column_stack([images.flatten(1).numpy(), labels.numpy()])
            for images, labels in (
                (digits.train_images, digits.train_labels),
                (digits.test_images, digits.test_labels),
            )
        ]
    )
    theirs = np.column_stack([np.round(bundle.data / 16 * 255), bundle.target])
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.astype(int).tolist()))


def test_the_split_is_stratified():
    digits = load_digits()
    train, test = (torch.bincount(labels).double() for labels in (digits.train_labels, digits.test_labels))
    assert torch.all((test - (train + test) * 360 / 1797).abs() < 1)


def test_the_split_is_always_the_same():
    np.random.seed(5)  # noqa: NPY002 - the global generator must not matter
    first = load_digits()
    np.random.seed(6)  # noqa: NPY002 - the global generator must not matter
    second = load_digits()
    assert torch.equal(first.train_images, second.train_images)
    assert torch.equal(first.test_labels, second.test_labels)


def test_images_are_enlarged_bilinearly():
    # To twice the side with centres half a pixel apart, each new point lies a quarter from its nearest old one.
    small, large = load_digits(size=8).test_images[:50, 0].double(), load_digits(size=16).test_images[:50, 0].double()
    for axis in (1, 2):
        before = torch.cat([small.narrow(axis, 0, 1), small.narrow(axis, 0, small.shape[axis] - 1)], dim=axis)
        after = torch.cat([small.narrow(axis, 1, small.shape[axis] - 1), small.narrow(axis, -1, 1)], dim=axis)
        pair = torch.stack([0.75 * small + 0.25 * before, 0.75 * small + 0.25 * after], dim=axis + 1)
        small = pair.flatten(axis, axis + 1)
    assert (small - large).abs().max() <= 1  # both are rounded to whole grey levels


def test_the_size_is_a_setting():
    assert load_dataset("digits:size=12", data_dir=None, download=False).input_shape == (1, 12, 12)
    assert load_dataset("digits:28", data_dir=None, download=False).input_shape == (1, 28, 28)


@pytest.mark.parametrize("size", ["7", "65", "many"])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(InputError, match=f"dataset 'digits': size={size} is refused"):
        load_dataset(f"digits:size={size}", data_dir=None, download=False)
