import struct

import numpy as np
import pytest

from dtfl_private.experiments.judging.class_figures import class_figures
from dtfl_private.report.pictures import judged
from dtfl_private.report.pictures.judged import plot_judged

NAMES = {
    2: ["benign", "malignant"],
    10: [f"a class with a long name, number {n}" for n in range(9)] + ["$x_1$ \x1b[31m"],
    100: [f"class {n}" for n in range(100)],
}


def summary_of(classes: int, **more):
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes - (classes > 2), size=400)
    logits = rng.standard_normal((400, classes)) + 3 * np.eye(classes)[labels]
    test = class_figures(logits, labels, NAMES[classes])
    return {"rounds": 7, "judged_on": "test", "test": test, "clients": None, **more}


@pytest.mark.parametrize("classes", NAMES)
def test_a_picture_is_drawn_of_few_and_many_classes(classes, tmp_path):
    path = tmp_path / "test.png"
    plot_judged(summary_of(classes), path, title="a $run$")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1950, 660)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that pictures would be made of; the test above has them drawn."""
    figures = []
    monkeypatch.setattr(judged, "picture_bytes", lambda figure, _: figures.append(figure) or b"")
    return figures


def test_the_picture_shows_the_selected_round_where_there_is_one(drawn, tmp_path):
    other = summary_of(2)["test"] | {"accuracy": 0.125}
    selected = {"selected_test": other, "selected_clients": None, "selected_round": 3}
    plot_judged(summary_of(2, **selected), tmp_path / "x.png", title="t")
    assert drawn[0].get_suptitle() == "t: round 3 on 400 test images, accuracy 0.125"
    plot_judged(summary_of(2, selected_test=None, selected_round=3), tmp_path / "x.png", title="t")
    assert drawn[1].get_suptitle().startswith("t: round 7 on 400 test images")


def test_the_bars_are_the_recalls_the_worst_first_without_classes_that_have_no_images(drawn, tmp_path):
    summary = summary_of(10)
    plot_judged(summary, tmp_path / "x.png", title="t")
    recalls = [row["recall"] for row in summary["test"]["per_class"] if row["support"]]
    confusion, recall, reliability = drawn[0].axes[:3]
    assert [bar.get_width() for bar in recall.patches] == sorted(recalls)
    assert len(recalls) == 9
    assert len(confusion.texts) == 100
    line = reliability.lines[1]
    bins = [one for one in summary["test"]["calibration"] if one["n"]]
    assert list(line.get_ydata()) == [one["accuracy"] for one in bins]
    assert list(line.get_xdata()) == [one["confidence"] for one in bins]
