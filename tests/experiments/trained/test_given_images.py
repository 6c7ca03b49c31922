"""Images in every form that a training takes are predicted alike, and with labels judged."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from dtfl_private.data.digits import load_digits
from dtfl_private.errors import InputError


@pytest.fixture(scope="module")
def pixels():
    return load_digits(size=8).test_images[:40].numpy()


def pil(pixels):
    return [Image.fromarray(image[0]) for image in pixels]


@pytest.mark.parametrize(
    "form",
    [
        lambda pixels: pixels[:, 0],
        lambda pixels: torch.from_numpy(pixels[:, 0]),
        lambda pixels: np.moveaxis(pixels, 1, -1),
        lambda pixels: pixels[:, 0] / 255,
        pil,
        list,
        lambda pixels: [torch.from_numpy(image[0]) for image in pixels],
    ],
    ids=["NHW", "tensor", "NHWC", "floats", "PIL", "arrays", "tensors"],
)
def test_images_are_predicted_in_whatever_form_a_training_takes_them(digits_run, pixels, form):
    predictions = digits_run.predict(form(pixels))
    np.testing.assert_allclose(predictions.probabilities, digits_run.predict(pixels).probabilities, atol=1e-6)
    assert predictions.accuracy is None


@pytest.mark.parametrize(
    "form", [lambda image: image[0], lambda image: image[0][..., None], lambda image: pil([image])[0]]
)
def test_one_image_is_taken_too(digits_run, pixels, form):
    one = digits_run.predict(form(pixels[3]))
    np.testing.assert_allclose(one.probabilities, digits_run.predict(pixels[3:4]).probabilities, atol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        lambda images, labels: (images[:, 0], labels),
        lambda images, labels: TensorDataset(torch.from_numpy(images), torch.from_numpy(labels)),
        lambda images, labels: list(zip(pil(images), labels.tolist(), strict=True)),
        lambda images, labels: datasets.Dataset.from_dict(
            {"image": pil(images), "label": labels.tolist()},
            features=datasets.Features(
                {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(n) for n in range(10)])}
            ),
        ),
    ],
    ids=["arrays", "torch", "pairs", "hugging-face"],
)
def test_images_with_labels_are_judged_as_the_run_judged_itself(digits_run, form):
    test = load_digits(size=8)
    predictions = digits_run.predict(form(test.test_images.numpy(), test.test_labels.numpy()))
    assert predictions.accuracy == digits_run.summary["final_accuracy"]
    assert set(predictions.recall) == set(digits_run.predict(test.test_images).classes)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 9, 9), np.uint8), r"images have shape \(2, 9, 9\), expected N x 1 x 8 x 8"),
        ([Image.new("RGB", (8, 8))], r"images have shape \(1, 3, 8, 8\), expected N x 1 x 8 x 8"),
        ([Image.new("RGBA", (8, 8))], "image 0 is of the mode RGBA"),
        (
            [np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)],
            r"images 0 and 1 differ in shape \(1x8x8 and 1x9x8\)",
        ),
        ((np.zeros((2, 8, 8), np.uint8), np.array([0, 10])), "labels reach 10, and the network has the classes 0 to 9"),
        ([(np.zeros((8, 8), np.uint8), 1.5)], "the label of given item 0"),
        ([np.zeros((8, 8), np.uint8), "a.png"], "image 1: a str, expected a NumPy array"),
        (["a.png", 3], "images are a list with a int, expected images, pairs"),
        (3, "the given data are a int"),
        ([], "no images are named: give files"),
    ],
)
def test_what_cannot_be_predicted_is_named(digits_run, images, said):
    with pytest.raises(InputError, match=said):
        digits_run.predict(images)
