import pytest

from dtfl_private.choosing.image_sets import image_sets
from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_images import with_images_of_run

DIGITS = "digits:size=8"


def drawn(config: TrainConfig) -> tuple[set[bytes], set[bytes]]:
    """Return the images that a run trains on, and those it is judged on."""
    images = with_images_of_run(config, load_dataset(config.dataset, data_dir=None, download=False))
    return tuple({image.numpy().tobytes() for image in part} for part in (images.train_images, images.test_images))


@pytest.mark.parametrize(
    "values", [{}, {"max_train_images": 300}, {"max_train_images": 60, "seed": 7}, {"validation": 0.2}]
)
def test_no_image_of_the_fresh_audit_is_one_of_a_trial(values):
    """Victims are training images: those of the fresh audit are disjoint from those of all trials by construction."""
    config = TrainConfig(dataset=DIGITS, **values)
    sets = image_sets(config)
    trial, fresh = (config.model_copy(update=changes) for changes in (sets.of_trials, sets.of_fresh))
    of_trials, judged = drawn(trial)
    of_fresh, tested = drawn(fresh)
    # Some images of digits are there twice, pixel by pixel.
    everything = load_dataset(DIGITS, data_dir=None, download=False).train_images
    seen = [image.numpy().tobytes() for image in everything]
    twice = {image for image in seen if seen.count(image) > 1}
    assert not (of_trials & of_fresh) - twice
    assert not (judged & of_fresh) - twice
    assert not (judged & of_trials) - twice
    assert len(of_trials) >= min(config.max_train_images or 500, 500) - len(twice)
    assert tested == drawn(TrainConfig(dataset=DIGITS))[1]
    assert judged != tested
    assert fresh.seed != trial.seed


def test_the_user_is_told_by_which_images_trials_are_judged():
    notes = " ".join(image_sets(TrainConfig(dataset=DIGITS)).notes)
    assert "validation images (held out for that" in notes
    assert "that no trial has had" in notes
    assert "the configuration's own" in " ".join(image_sets(TrainConfig(dataset=DIGITS, validation=0.2)).notes)


def test_too_few_images_for_two_sets_are_refused():
    with pytest.raises(InputError, match="too few for 700 clients"):
        image_sets(TrainConfig(dataset=DIGITS, clients=700))
