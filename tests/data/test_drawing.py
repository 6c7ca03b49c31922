import numpy as np
import pytest

from dtfl_private.data.drawing import drawn_places, validation_places
from dtfl_private.errors import InputError

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_validation_images_are_a_share_of_each_class_ascending_each_once():
    places = validation_places(LABELS, 0.2, rng())
    assert np.bincount(LABELS[places]).tolist() == [12, 6, 2]
    assert np.array_equal(places, np.unique(places))


def test_validation_images_are_drawn_at_random_by_their_generator():
    assert np.array_equal(validation_places(LABELS, 0.2, rng()), validation_places(LABELS, 0.2, rng()))
    assert not np.array_equal(validation_places(LABELS, 0.2, rng()), validation_places(LABELS, 0.2, rng(1)))


def test_no_validation_image_is_one_that_is_used():
    used = [drawn_places(100, 30, rng(seed)) for seed in range(3)]
    places = validation_places(LABELS, 0.2, rng(9), used)
    assert len(places) == 20
    assert not set(places) & set(np.concatenate(used).tolist())


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.001, "validation 0.001 of 100 training images is 0: some, not all, must be left"),
        (0.999, "validation 0.999 of 100 training images is 100: some, not all"),
        (0.5, "is 50, but only 40 of them are no run's: lower validation or max_train_images"),
    ],
)
def test_more_validation_images_than_there_can_be_are_refused(share, said):
    with pytest.raises(InputError, match=said):
        validation_places(LABELS, share, rng(), [np.arange(60)])


def test_training_images_are_drawn_from_the_others_and_otherwise_the_same():
    held_out = np.arange(0, 100, 10)
    without, whole = drawn_places(100, 20, rng(), held_out), drawn_places(100, 20, rng())
    assert len(without) == 20
    assert not set(without) & set(held_out)
    assert set(whole) - set(held_out) <= set(without)
    assert np.array_equal(drawn_places(100, 90, rng(), held_out), np.setdiff1d(np.arange(100), held_out))
