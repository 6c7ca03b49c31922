"""The same images, however a program holds them, are the same data set; anything doubtful is refused in one line."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from dtfl_private import ImageDataset, InputError, TrainConfig, as_dataset, attack, train
from dtfl_private.data.from_python import given_dataset

NAMES = ("ant", "bee", "cat")


def pixels(count: int, channels: int = 3, seed: int = 0):
    """Return images (N, C, H, W) of 6x5 pixels, and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, channels, 6, 5), dtype=np.uint8), np.arange(count) % 3


def by_hand(train, test, classes=("0", "1", "2")):
    (train_images, train_labels), (test_images, test_labels) = (map(torch.from_numpy, part) for part in (train, test))
    return ImageDataset(
        name="by hand",
        source="",
        classes=classes,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


class Items:
    """A map-style data set of what is in a list, as torch takes it; it need not derive from torch's class."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


def pil(image):
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def hugging_face(images, labels, **more):
    """Return a Hugging Face dataset of PIL images with named classes."""
    import datasets

    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(NAMES))})
    columns = {"picture": [pil(image) for image in images], "kind": labels.tolist()}
    for name, values in more.items():
        features[name], columns[name] = datasets.Value("int64"), values
    return datasets.Dataset.from_dict(columns, features=features)


FORMS = {
    "arrays": lambda images, labels: (images, labels),
    "arrays, channels last": lambda images, labels: (images.transpose(0, 2, 3, 1), labels.astype(np.uint8)),
    "floats": lambda images, labels: ((images / np.float32(255)), labels.tolist()),
    "tensors": lambda images, labels: (torch.from_numpy(images), torch.from_numpy(labels)),
    "int64 tensors": lambda images, labels: [torch.from_numpy(images).long(), torch.from_numpy(labels)],
    "torch data set": lambda images, labels: TensorDataset(torch.from_numpy(images) / 255, torch.from_numpy(labels)),
    "list of pairs": lambda images, labels: list(zip(images, labels, strict=True)),
    "PIL images": lambda images, labels: Items(
        [(pil(image), int(label)) for image, label in zip(images, labels, strict=True)]
    ),
    "Hugging Face": hugging_face,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_images_are_an_equal_data_set_in_whatever_form_they_are(form, channels):
    parts = pixels(9, channels), pixels(6, channels, seed=1)
    expected = by_hand(*parts)
    held = [FORMS[form](*part) for part in parts]
    made = as_dataset(*held)
    assert made.fingerprint() == expected.fingerprint()
    assert made.classes == (NAMES if form == "Hugging Face" else expected.classes)
    assert made.notes == ()
    assert given_dataset(tuple(held)).fingerprint() == expected.fingerprint()
    assert given_dataset({"train": held[0], "test": held[1]}).fingerprint() == expected.fingerprint()


@given(images=arrays(np.uint8, st.tuples(st.integers(2, 4), *[st.integers(4, 6)] * 2)), kind=st.sampled_from("uf"))
def test_grey_images_need_no_axis_of_channels_and_floats_come_back_exactly(images, kind):
    labels = np.arange(len(images)) % 2
    held = images if kind == "u" else images.astype(np.float32) / 255
    made = as_dataset((held, labels), (held, labels))
    assert np.array_equal(made.train_images.numpy(), images[:, None])
    assert made.notes == ()


def test_names_of_classes_are_those_given_or_those_of_the_data():
    images, labels = pixels(6)
    items = [*zip(images, labels, strict=True)]
    assert as_dataset(Items(items, classes=list(NAMES)), test_share=0.5).classes == NAMES
    assert as_dataset((images, labels), classes=("x", "y", "z", "none")).classes == ("x", "y", "z", "none")


def test_without_test_images_a_share_of_each_class_is_held_out_and_that_is_said():
    images, labels = pixels(30)
    made = as_dataset((images, labels), client_ids=np.arange(30) // 10)
    assert torch.bincount(made.test_labels).tolist() == [2, 2, 2]
    (note,) = made.notes
    assert note == (
        "no test images were given: 6 of 30 images, each class in its proportion, are the test images (seed 0)"
    )
    both = torch.cat([made.train_images, made.test_images]).numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, images))
    # Each image kept its label and its client.
    place = {bytes(image): number for number, image in enumerate(images)}
    kept = [place[bytes(image)] for image in made.train_images.numpy()]
    assert made.train_labels.tolist() == labels[kept].tolist()
    assert made.client_ids.tolist() == [number // 10 for number in kept]
    assert as_dataset((images, labels)).train_images.equal(made.train_images)
    assert not as_dataset((images, labels), seed=1).train_images.equal(made.train_images)


def test_splits_of_a_mapping_that_are_left_out_are_named():
    part = pixels(6)
    assert as_dataset({"train": part, "test": part, "validation": part}).notes == ("left out: validation",)
    with pytest.raises(InputError, match="the data have the splits a, b: expected train, and test"):
        as_dataset({"a": part, "b": part})


def test_floats_between_the_256_levels_are_rounded_and_that_is_said():
    images, labels = pixels(6)
    made = as_dataset(((images + 0.6).clip(0, 255) / 255, labels), (images, labels))
    assert made.notes == ("images are held in 256 levels: floats between them were rounded",)
    assert np.array_equal(made.train_images.numpy(), np.minimum(images.astype(int) + 1, 255))


GOOD = pixels(6)
FLIPS = np.random.default_rng(0)


class Flipped(Items):
    """Images with random flips."""

    def __getitem__(self, place):
        image, label = super().__getitem__(place)
        return image[..., ::-1] if FLIPS.random() < 0.5 else image, label


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(*GOOD, strict=True))


class Counted(Stream):
    """A stream that knows how long it is."""

    def __len__(self):
        return len(GOOD[1])


def without_length():
    yield from zip(*GOOD, strict=True)


def changed(place, value):
    """Return good floats but for one value."""
    images = GOOD[0] / 255
    images[place, 0, 0, 0] = value
    return images, GOOD[1]


def labelled(*labels):
    return GOOD[0], np.array(labels)


def items(*changes):
    """Return good items with others in the places of the first."""
    return Items([*changes, *list(zip(*GOOD, strict=True))[len(changes) :]])


ONLY = "which can only be gone through: give a map-style data set, with a length and items by number"
REFUSED = {
    "name": ("digits", r"the training data are a str, expected \(images, labels\) as arrays"),
    "no data": (3, r"the training data are a int, expected \(images, labels\) as arrays"),
    "stream": (Stream(), f"the training data are a Stream, {ONLY}"),
    "stream of known length": (Counted(), f"the training data are a Counted, {ONLY}"),
    "generator": (without_length(), f"the training data are a generator, {ONLY}"),
    "loader": (DataLoader(list(zip(*GOOD, strict=True))), f"the training data are a DataLoader, {ONLY}"),
    "images alone": (GOOD[0], r"the training data are a ndarray without labels: give both, as \(images, labels\)"),
    "nothing": ((GOOD[0][:0], GOOD[1][:0]), "there are no training images"),
    "no items": (Items([]), "there are no training images"),
    "NaN": (changed(2, np.nan), "training images have values that are no finite numbers"),
    "infinity": (changed(2, np.inf), "training images have values that are no finite numbers"),
    "normalised": (changed(2, -1.5), r"training images have values from -1.5 to .* do not normalise them"),
    "floats to 255": ((GOOD[0].astype(float), GOOD[1]), "expected floats from 0 to 1: .* divide by 255"),
    "too large numbers": (
        (GOOD[0].astype(int) + 9, GOOD[1]),
        "have values from .* expected whole numbers from 0 to 255",
    ),
    "logical values": ((GOOD[0] > 9, GOOD[1]), "are of the type bool, expected whole numbers 0..255 or floats 0..1"),
    "a vector each": (
        (GOOD[0].reshape(6, -1), GOOD[1]),
        r"have the shape \(6, 90\), expected \(N, H, W\), \(N, H, W, C\)",
    ),
    "two places of channels": (
        (np.zeros((6, 3, 8, 3)), GOOD[1]),
        "both axis 1 and axis 3 can be channels .* say channels=",
    ),
    "no place of channels": (
        (np.zeros((6, 2, 8, 8)), GOOD[1]),
        "neither axis 1 nor axis 3 can be channels .* say chan",
    ),
    "too few labels": ((GOOD[0], GOOD[1][1:]), r"training labels have the shape \(5,\), expected \(6,\): a number for"),
    "one-hot labels": ((GOOD[0], np.eye(3)[GOOD[1]]), r"expected \(6,\): .* one-hot labels give labels.argmax\(1\)"),
    "float labels": (labelled(0.0, 1, 2, 0, 1, 2), "training labels are of the type float64, expected whole numbers"),
    "negative labels": (labelled(0, 1, 2, 0, 1, -1), "training labels go down to -1, expected whole numbers from 0"),
    "ids for labels": (labelled(0, 1, 2, 0, 1, 10_000), "labels go up to 10000: number the classes from 0"),
    "no pairs": (items(GOOD[0][0]), r"training item 0 is no \(image, label\), or cannot be read: ValueError"),
    "a text label": (items((GOOD[0][0], "ant")), "the label of training item 0 is a str, expected a whole number"),
    "a logical label": (items((GOOD[0][0], True)), "the label of training item 0 is a bool, expected a whole number"),
    "another shape": (
        items(*[(GOOD[0][0], 0)] * 2, (GOOD[0][0][:, :4], 0)),
        "images 0 and 2 differ in shape .3x6x5 and 3x4x5",
    ),
    "a list for an image": (items(([[1]], 0)), "the image of training item 0: a list, expected a NumPy array, a torch"),
    "transparent": (items((Image.new("RGBA", (5, 6)), 0)), "the image of training item 0 is of the mode RGBA: convert"),
    "random flips": (
        Flipped(list(zip(*GOOD, strict=True))),
        "is another one when it is read again: leave out random tr",
    ),
    "a data set twice": (as_dataset(GOOD), "the training images are a ImageDataset, which has both: pass it alone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_doubtful_is_refused_in_one_line(case):
    data, line = REFUSED[case]
    with pytest.raises(InputError, match=line) as refused:
        as_dataset(data, GOOD)
    assert "\n" not in str(refused.value)


def test_where_a_shape_does_not_tell_the_program_may():
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 3), dtype=np.uint8)
    first = as_dataset((images, GOOD[1]), channels="first")
    last = as_dataset((images, GOOD[1]), channels="last")
    assert (first.input_shape, last.input_shape) == ((3, 8, 3), (3, 3, 8))
    with pytest.raises(InputError, match="channels is 'middle'"):
        as_dataset((images, GOOD[1]), channels="middle")


def test_there_are_two_classes_at_least():
    with pytest.raises(InputError, match="all labels are 0: at least two classes are needed"):
        as_dataset((GOOD[0], 0 * GOOD[1]))


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01, float("nan")])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(share):
    with pytest.raises(InputError, match="of 6 images: some, not all, must be left; or give test images"):
        as_dataset(GOOD, test_share=share)


def test_names_must_be_enough_and_the_same_on_both_sides():
    with pytest.raises(InputError, match="labels go up to 2, but there are 2 classes: name them all"):
        as_dataset(GOOD, classes=("a", "b"))
    one, other = (Items([*zip(*GOOD, strict=True)], classes=names) for names in (["a", "b", "c"], ["c", "b", "a"]))
    with pytest.raises(InputError, match="training and test images name different classes"):
        as_dataset(one, other)


def test_columns_of_hugging_face_are_named_where_they_are_not_plain():
    data = hugging_face(*GOOD, fine=[5, 4, 3, 2, 1, 0])
    assert as_dataset(data).classes == NAMES
    assert as_dataset(data, columns=("picture", "fine"), test_share=0.5).classes == tuple("012345")
    with pytest.raises(InputError, match="the data have no column 'coarse', but picture, kind, fine"):
        as_dataset(data, columns=("picture", "coarse"))
    with pytest.raises(InputError, match="the data have the columns picture, fine: name the image and the label"):
        as_dataset(data.remove_columns("kind"))
    with pytest.raises(InputError, match=f"a IterableDataset, {ONLY}"):
        as_dataset(data.to_iterable_dataset())


def test_no_package_is_imported_to_know_what_data_are(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "datasets"]:
        monkeypatch.delitem(sys.modules, name)
    as_dataset(GOOD)
    assert "datasets" not in sys.modules


def test_a_training_takes_them_as_they_are_and_an_attack_asks_for_the_same(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (labels[:, None, None] * 100 + rng.integers(0, 99, (40, 8, 8))).astype(np.uint8)
    config = TrainConfig(clients=2, rounds=1, batch_size=8, model="resnet-8", workers=1, device="cpu")
    heard = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    run = train(config, out=tmp_path / "run", dataset=heard)
    assert run.config.dataset == "object:ImageDataset"
    with pytest.raises(InputError, match=r"'object:ImageDataset' was an object passed from Python"):
        attack(run)
    with pytest.raises(InputError, match="was trained on other data than are there now"):
        attack(run, dataset=(images, 1 - labels))
