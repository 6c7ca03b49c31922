import csv
import os

import pytest

from dtfl_private import Callback, CsvLogger, InputError, StopTraining, train
from dtfl_private.report.callbacks.figures import figures_of


class Once(Callback):
    """Ends a training after a round."""

    def round_finished(self, record):
        raise StopTraining


def read(path):
    """Return the lines of a file as numbers, without what a line does not have."""
    with path.open(newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]


def test_the_file_has_a_line_for_each_round_and_a_column_for_each_figure_of_any(tmp_path, a_round):
    first, second = a_round(1), a_round(2, tiers={"0": 3}, local_loss=0.75)
    logger = CsvLogger(tmp_path / "new" / "run.csv")
    logger.run_started(tmp_path, 3, [], list)
    logger.round_finished(first)
    assert read(tmp_path / "new" / "run.csv") == [{"round": 1, **figures_of(first)}]
    logger.round_finished(second)
    assert read(tmp_path / "new" / "run.csv") == [{"round": at["round"], **figures_of(at)} for at in (first, second)]
    assert (tmp_path / "new" / "run.csv").read_text().splitlines()[1].startswith("1,0.51,1.25,2.5,")


def test_a_training_and_its_resumption_leave_the_figures_of_rounds_jsonl(tmp_path, tiny_config, patterns):
    config, given = tiny_config(rounds=2, model="resnet-8"), {"out": tmp_path / "run", "dataset": patterns}
    assert len(train(config, callbacks=[Once()], **given).records) == 1
    run = train(config, resume=True, callbacks=[CsvLogger(tmp_path / "run.csv")], **given)
    assert len(run.records) == 2
    assert read(tmp_path / "run.csv") == [{"round": record["round"], **figures_of(record)} for record in run.records]


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"CSV file '.*' cannot be written: it is a folder"):
        CsvLogger(tmp_path)
    with pytest.raises(InputError, match=r"CSV file '.*' cannot be written"):
        CsvLogger(tmp_path / "file" / "run.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"CSV file '.*' cannot be written: it is a pipe, device or socket"):
        CsvLogger(tmp_path / "pipe")
