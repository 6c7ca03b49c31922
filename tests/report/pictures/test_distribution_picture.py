import io
import warnings

import numpy as np
import pytest
from PIL import Image

from dtfl_private.report.pictures.distribution import distribution_picture


def counts(clients: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50, (clients, classes))


@pytest.mark.parametrize(("clients", "classes"), [(1, 2), (200, 10), (3, 100)])
def test_the_picture_is_a_png_without_complaint(clients, classes):
    names = tuple(f"class {number}" for number in range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = distribution_picture(counts(clients, classes) + 1, names, title="heading")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width == 1500


def test_each_class_has_its_colour_in_proportion():
    # One client with three quarters of class 0 and one quarter of class 1, in matplotlib's first two colours.
    picture = distribution_picture(np.array([[75, 25]]), ("a", "b"), title="")
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)
    first, second = ((pixels == colour).all(axis=1).sum() for colour in ((31, 119, 180), (255, 127, 14)))
    assert first / second == pytest.approx(3, rel=0.05)


def test_names_are_shown_literally():
    # A formula that does not parse would raise; a label after "_" would be left out with a warning.
    picture = distribution_picture(counts(3, 3) + 1, ("$a_{$", "_hidden", "c$d"), title="$x_{$")
    assert picture.startswith(b"\x89PNG")


def test_the_same_counts_give_the_same_picture():
    first, again = (distribution_picture(counts(5, 3), ("a", "b", "c"), title="t") for _ in range(2))
    assert first == again
