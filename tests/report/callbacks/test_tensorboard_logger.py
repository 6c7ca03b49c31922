import sys

import pytest

from dtfl_private import InputError, TensorBoardLogger
from dtfl_private.report.callbacks.figures import figures_of


def curves(folder):
    """Return what TensorBoard itself reads: by name the points (round, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_a_curve_for_each_figure_also_of_a_resumed_run(tmp_path, a_round):
    for earlier, new in ([[], [1, 2]], [[1, 2], [3]]):
        logger = TensorBoardLogger(tmp_path / "board")
        logger.run_started(tmp_path, 3, [a_round(number) for number in earlier], lambda: ["what comes"])
        for number in new:
            logger.round_finished(a_round(number))
        logger.ended(None)
    found = curves(tmp_path / "board")
    assert set(found) == {name.replace(" ", "_") for name in figures_of(a_round())}
    assert found["virtual_time_s"] == [(1, 65.0), (2, 130.0), (3, 195.0)]
    assert found["epsilon/labels_per_label_replaced"] == [(1, 2.0), (2, 2.0), (3, 2.0)]


def test_without_tensorboard_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"not installed: pip install 'dtfl-private\[tensorboard\]'"):
        TensorBoardLogger(tmp_path / "board")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        TensorBoardLogger(tmp_path / "file" / "board")
