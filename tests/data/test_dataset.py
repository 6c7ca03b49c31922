import hashlib

import numpy as np
import pytest
import torch

from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.errors import InputError


def parts(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (12, 3, 4, 5), dtype=np.uint8))
    labels = torch.arange(12) % 3
    return {
        "name": "small",
        "source": "made here",
        "classes": ("a", "b", "c"),
        "train_images": images[:8],
        "train_labels": labels[:8],
        "test_images": images[8:],
        "test_labels": labels[8:],
        **changes,
    }


def test_the_shape_of_one_image_is_channels_height_width():
    assert ImageDataset(**parts()).input_shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": torch.zeros(8, 3, 4, 5)}, "train images must be uint8 (N, C, H, W), not torch.float32 (8, 3"),
        ({"test_images": torch.zeros(4, 4, 5, dtype=torch.uint8)}, "test images must be uint8 (N, C, H, W), not"),
        ({"train_labels": torch.zeros(8, dtype=torch.int32)}, "train labels must be int64 (8,), not torch.int32 (8,)"),
        ({"test_labels": torch.zeros(5, dtype=torch.int64)}, "test labels must be int64 (4,), not torch.int64 (5,)"),
        ({"test_labels": torch.zeros(4, 1, dtype=torch.int64)}, "test labels must be int64 (4,)"),
        ({"train_labels": torch.tensor([0, 1, 2, 3, 0, 0, 0, 0])}, "train labels must lie in 0..2"),
        ({"test_labels": torch.tensor([0, -1, 2, 0])}, "test labels must lie in 0..2"),
        (
            {"train_images": torch.zeros(0, 3, 4, 5, dtype=torch.uint8), "train_labels": torch.zeros(0).long()},
            "no train images",
        ),
        ({"test_images": torch.zeros(4, 1, 4, 5, dtype=torch.uint8)}, "training and test images differ in shape"),
    ],
)
def test_nonsense_is_refused_by_name(changes, message):
    with pytest.raises(InputError) as refusal:
        ImageDataset(**parts(**changes))
    assert str(refusal.value).startswith(f"small: {message}")


def test_fewer_training_images_are_a_subset_in_their_old_order():
    whole = ImageDataset(**parts())
    subset = whole.with_train_images(5, np.random.default_rng(1))
    assert len(subset.train_images) == len(subset.train_labels) == 5
    chosen = [
        next(place for place, candidate in enumerate(whole.train_images) if torch.equal(candidate, image))
        for image in subset.train_images
    ]
    assert chosen == sorted(set(chosen))
    assert torch.equal(subset.train_labels, whole.train_labels[chosen])
    assert torch.equal(subset.test_images, whole.test_images)
    assert torch.equal(subset.test_labels, whole.test_labels)


def test_the_subset_depends_on_the_random_stream_alone():
    whole = ImageDataset(**parts())
    drawn = [whole.with_train_images(4, np.random.default_rng(seed)).train_images for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_all_training_images_are_the_whole_data_set():
    whole = ImageDataset(**parts())
    assert torch.equal(whole.with_train_images(8, np.random.default_rng(0)).train_images, whole.train_images)


def test_more_training_images_than_there_are_are_refused():
    with pytest.raises(InputError, match="max_train_images 9 is more than the 8 training images of small"):
        ImageDataset(**parts()).with_train_images(9, np.random.default_rng(0))


def test_a_loader_that_returns_something_else_is_refused(offer):
    offer("dataset", "odd", lambda *, data_dir, download: (data_dir, download))
    with pytest.raises(InputError, match="data set 'odd' returned a tuple instead of an ImageDataset"):
        load_dataset("odd", data_dir=None, download=False)


def test_a_loader_of_the_user_gets_folder_and_download(offer, tmp_path):
    asked = []

    def load(*, data_dir, download, shade=0):
        asked.append((data_dir, download, shade))
        return ImageDataset(**parts())

    offer("dataset", "own", load)
    assert load_dataset("own:shade=7", data_dir=tmp_path, download=True).name == "small"
    assert asked == [(tmp_path, True, 7)]  # converted by the type of its default


def test_client_ids_are_checked_subset_and_part_of_the_fingerprint():
    plain, owned = ImageDataset(**parts()), ImageDataset(**parts(client_ids=torch.arange(8) // 2))
    subset = owned.with_train_images(5, np.random.default_rng(1))
    chosen = [
        next(place for place, candidate in enumerate(owned.train_images) if torch.equal(candidate, image))
        for image in subset.train_images
    ]
    assert subset.client_ids is not None
    assert subset.client_ids.tolist() == [place // 2 for place in chosen]
    assert plain.with_train_images(5, np.random.default_rng(1)).client_ids is None
    other = ImageDataset(**parts(client_ids=torch.arange(8)))
    assert len({dataset.fingerprint() for dataset in (plain, owned, other)}) == 3
    for wrong in (torch.arange(7), torch.arange(8).float(), torch.zeros(8, 1, dtype=torch.int64)):
        with pytest.raises(InputError, match=r"small: client ids must be int64 \(8,\), not"):
            ImageDataset(**parts(client_ids=wrong))


def test_the_fingerprint_is_the_hash_of_shapes_and_bytes():
    dataset = ImageDataset(**parts())
    digest = hashlib.sha256()
    for tensor in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        digest.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    assert dataset.fingerprint() == digest.hexdigest()
