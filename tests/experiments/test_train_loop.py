import json

import pytest
from interrupted_runs import Notes, left_behind

from dtfl_private.errors import CallbackError, NonFiniteLossError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.runtime.callback import Callback, StopTraining


def test_a_callback_hears_every_step_in_order(run_tiny, tmp_path):
    notes = Notes()
    run_tiny(tmp_path / "run", rounds=2, callbacks=[notes])
    assert notes.heard == ["started", *(["planned", "trained", "trained", "trained", "finished"] * 2)]
    assert notes.notes == []


def test_a_run_that_stops_at_its_target_ends_there_and_stays_finished(run_tiny, tmp_path):
    whole = run_tiny(tmp_path / "whole", rounds=4)
    target = sorted({record["test_accuracy"] for record in whole.records})[0]
    first = next(record["round"] for record in whole.records if record["test_accuracy"] >= target)
    run = run_tiny(tmp_path / "run", rounds=4, target_accuracy=target, stop_at_target=True)
    assert run.summary["rounds"] == first < 4
    assert (run.summary["finished"], run.summary["stopped"]) == (True, f"the target accuracy {target:g} is reached")
    assert read_run_config(run.folder).stop_at_target
    before = left_behind(tmp_path / "run")
    run_tiny(tmp_path / "run", rounds=4, target_accuracy=target, stop_at_target=True, resume=True)
    assert left_behind(tmp_path / "run") == before


def test_a_loss_that_explodes_ends_the_run_and_names_the_culprit(run_tiny, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(NonFiniteLossError, match=r"loss of client \d became .* in round 1"):
        run_tiny(path, lr=1e30)
    assert sorted(file.name for file in path.iterdir()) == ["config.toml", "dataset.json", "environment.json"]


class StopAfter(Callback):
    """Ends a training after a round, also one that was trained before; keeps what it hears at the end."""

    def __init__(self, last: int) -> None:
        self.last, self.end = last, []

    def run_started(self, folder, rounds, records, describe):
        self._look(len(records))

    def round_finished(self, record):
        self._look(record["round"])

    def run_finished(self, folder, summary):
        self.end.append((folder, json.loads((folder / "summary.json").read_text()), dict(summary)))

    def ended(self, error):
        self.end.append(error)

    def _look(self, rounds: int) -> None:
        if rounds >= self.last:
            raise StopTraining("it is good enough")


def test_a_callback_ends_a_training_after_a_round_and_all_files_say_so(run_tiny, tmp_path):
    stops = StopAfter(2)
    run = run_tiny(tmp_path / "run", rounds=4, callbacks=[stops])
    assert len(run.records) == 2
    assert (run.summary["finished"], run.summary["stopped"]) == (True, "it is good enough")
    assert stops.end == [(run.folder.path, run.summary, run.summary), None]
    assert run.folder.plot.is_file()


def test_a_training_that_a_callback_ended_goes_on_without_it_as_if_nothing_had_happened(run_tiny, tmp_path):
    run_tiny(tmp_path / "whole", rounds=4)
    run_tiny(tmp_path / "run", rounds=4, callbacks=[StopAfter(2)])
    again = run_tiny(tmp_path / "run", rounds=4, callbacks=[StopAfter(2)], resume=True)
    assert (len(again.records), again.summary["stopped"]) == (2, "it is good enough")
    on = run_tiny(tmp_path / "run", rounds=4, resume=True)
    assert (len(on.records), on.summary["stopped"]) == (4, None)
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "whole")


def test_to_stop_after_the_last_round_is_no_early_end(run_tiny, tmp_path):
    run = run_tiny(tmp_path / "run", rounds=1, callbacks=[StopAfter(1)])
    assert (run.summary["finished"], run.summary["stopped"]) == (True, None)


class Fails(Callback):
    def round_finished(self, record):
        if record["round"] == 2:
            raise OSError("disk full")


def test_a_callback_that_fails_stops_a_training_which_can_be_resumed(run_tiny, tmp_path):
    run_tiny(tmp_path / "whole", rounds=3)
    stops = StopAfter(9)
    with pytest.raises(CallbackError, match="callback Fails failed in round_finished: OSError: disk full"):
        run_tiny(tmp_path / "run", rounds=3, callbacks=[stops, Fails()])
    assert [type(error) for error in stops.end] == [CallbackError]
    run_tiny(tmp_path / "run", rounds=3, resume=True)
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "whole")
