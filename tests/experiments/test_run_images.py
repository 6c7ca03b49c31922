import itertools

import pytest
import torch

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.provenance import recorded_data
from dtfl_private.experiments.run_images import with_images_of_run
from dtfl_private.runtime.callback import Callback


@pytest.fixture(scope="module")
def numbered() -> ImageDataset:
    """200 training images whose pixels are their number, 20 test images of 255."""
    return ImageDataset(
        name="numbered",
        source="made up",
        classes=("a", "b"),
        train_images=torch.arange(200, dtype=torch.uint8).reshape(200, 1, 1, 1),
        train_labels=torch.arange(200) % 2,
        test_images=torch.full((20, 1, 1, 1), 255, dtype=torch.uint8),
        test_labels=torch.zeros(20, dtype=torch.int64),
    )


def images(dataset: ImageDataset, **values: object) -> tuple[set[int], set[int]]:
    """Return the numbers of the images that a run trains on, and of those that it is judged on."""
    drawn = with_images_of_run(TrainConfig.model_validate(values), dataset)
    assert drawn.train_labels.tolist() == [number % 2 for number in drawn.train_images.flatten().tolist()]
    return set(drawn.train_images.flatten().tolist()), set(drawn.test_images.flatten().tolist())


def test_without_validation_the_images_are_those_of_before(numbered):
    assert with_images_of_run(TrainConfig(), numbered) is numbered
    assert images(numbered, max_train_images=50) == images(numbered, max_train_images=50, validation=0)


@pytest.mark.parametrize("few", [{}, {"max_train_images": 50}])
def test_validation_images_are_the_same_for_every_seed_and_no_run_trains_on_them(numbered, few):
    judged = [images(numbered, validation=0.2, judged_on="validation", seed=seed, **few) for seed in range(3)]
    assert judged[0][1] == judged[1][1] == judged[2][1]
    assert len(judged[0][1]) == 40
    for seed, (trained, validation) in enumerate(judged):
        assert len(trained) == few.get("max_train_images", 160)
        assert not trained & validation
        assert images(numbered, validation=0.2, seed=seed, **few) == (trained, {255})


def test_validation_images_that_avoid_other_runs_leave_these_as_they_are(numbered):
    finals = [images(numbered, max_train_images=30, seed=seed)[0] for seed in (0, 1)]
    trials = [
        images(
            numbered, max_train_images=30, validation=0.2, judged_on="validation", validation_avoids=[0, 1], seed=seed
        )
        for seed in (100, 101)
    ]
    assert trials[0][1] == trials[1][1]
    for trained, (also_trained, validation) in itertools.product(finals, trials):
        assert not validation & (trained | also_trained)


def test_a_run_repeats_itself_by_the_number_of_images_that_it_used(numbered):
    whole = images(numbered, validation=0.2, judged_on="validation", seed=3)
    assert images(numbered, validation=0.2, judged_on="validation", seed=3, max_train_images=160) == whole


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"judged_on": "validation"}, "judged_on validation needs validation images: give validation too"),
        ({"validation": 0.1, "validation_avoids": [0]}, "validation_avoids leaves no image where runs train on all"),
        (
            {"validation": 0.1, "max_train_images": 181},
            "max_train_images 181 is more than the 180 training images of numbered beside 20 validation images",
        ),
    ],
)
def test_what_leaves_too_few_images_is_refused(numbered, values, said):
    with pytest.raises(InputError, match=said):
        images(numbered, **values)


class Heard(Callback):
    """Keeps what a run says of itself at its start."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run_started(self, folder, rounds, records, describe) -> None:
        self.lines += describe()


def test_a_run_that_is_judged_on_validation_images_says_so_and_can_be_repeated(run_tiny):
    heard = Heard()
    run = run_tiny("run", callbacks=[heard], rounds=1, validation=0.25, judged_on="validation", max_train_images=None)
    assert "the server holds 25.0% of the data back as validation images, which runs are judged on" in heard.lines[0]
    resolved = read_run_config(run.folder)
    again = run_tiny("again", **resolved.model_dump(exclude={"dataset", "model", "workers"}))
    assert recorded_data(again.folder) == recorded_data(run.folder)
    assert again.records[0]["test_loss"] == run.records[0]["test_loss"]
    assert run_tiny("test", rounds=1, validation=0.25).records[0]["test_loss"] != run.records[0]["test_loss"]


def test_images_that_avoid_other_runs_are_none_of_theirs(numbered):
    shared = {"max_train_images": 60, "validation": 0.2}
    others = [images(numbered, **shared, seed=seed)[0] for seed in (0, 1)]
    own, _ = images(numbered, **shared, seed=0, train_avoids=[0])
    assert len(own) == 60
    assert not own & others[0]
    assert own & others[1]
    with pytest.raises(InputError, match="train_avoids leaves"):
        images(numbered, **{**shared, "max_train_images": 90}, seed=2, train_avoids=[0])
    with pytest.raises(InputError, match="give max_train_images too"):
        images(numbered, train_avoids=[0])
