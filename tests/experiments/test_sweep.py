import json
from dataclasses import replace

import pytest

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments import many_runs
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.preset import load_preset
from dtfl_private.experiments.sweep import sweep
from dtfl_private.experiments.train import train
from dtfl_private.report.comparison.document import as_json
from dtfl_private.runtime.callback import Callback

TINY = """
title = "tiny"
seeds = [0, 1]
baseline = "fedavg"

[config]
clients = 3
batch_size = 8
device = "cpu"

[[grid]]
method = ["dtfl", "fedavg"]

[sizes.small]
dataset = "digits:size=8"
max_train_images = 30
rounds = 2
target_accuracy = 0.01
"""

NAMES = ["dtfl-seed0", "dtfl-seed1", "fedavg-seed0", "fedavg-seed1"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Load the tiny preset, with one text replaced by another."""

    def load(old: str = "", new: str = ""):
        path = tmp_path_factory.mktemp("preset") / "tiny.toml"
        path.write_text(TINY.replace(old, new) if old else TINY)
        return load_preset(path, "small")

    return load


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The tiny preset's sweep when nothing happens to it."""
    return sweep(tiny(), tmp_path_factory.mktemp("whole") / "sweep", parallel=1)


class Heard(Callback):
    """Keeps what happens; presses Ctrl-C when ``stop_at`` happens."""

    def __init__(self, stop_at=None) -> None:
        self.events: list[tuple] = []
        self._stop_at = stop_at

    def jobs_announced(self, jobs, steps=()) -> None:
        self.events.append(("announced", len(jobs), tuple(steps)))

    def job_advanced(self, job, done, total, reached="") -> None:
        self.events.append((job, done))
        if (job, done) == self._stop_at:
            raise KeyboardInterrupt

    def job_finished(self, job, *, cached=False, error=None) -> None:
        self.events.append((job, "cached" if cached else error))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def records(folder):
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_time_s"} for line in lines]


def test_a_sweep_trains_every_run_as_train_would_and_compares_them(whole, tiny, tmp_path):
    whole.require_whole()
    assert [run.name for run in whole.runs] == NAMES
    (setting,) = whole.comparison.settings
    assert [(group.name, len(group.runs)) for group in setting.groups] == [("dtfl", 2), ("fedavg", 2)]
    assert setting.baseline.name == "fedavg"
    alone = train(tiny().runs[1].config, out=tmp_path / "alone")
    assert records(whole.folder / NAMES[1]) == records(alone.folder.path)


def test_an_interrupted_sweep_goes_on_where_it_was_and_repeats_nothing(whole, tiny, tmp_path):
    heard = Heard(stop_at=("dtfl-seed1", 1))
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny(), tmp_path / "sweep", parallel=1, callbacks=[heard])
    first = content(tmp_path / "sweep" / "dtfl-seed0")
    heard = Heard()
    sweep(tiny(), tmp_path / "sweep", parallel=1, callbacks=[heard])
    announced = ("announced", 4, (2, 2, 2, 2))
    assert heard.events[:4] == [announced, ("dtfl-seed0", "cached"), ("dtfl-seed1", 1), ("dtfl-seed1", 2)]
    assert content(tmp_path / "sweep" / "dtfl-seed0") == first
    for name in NAMES:
        assert records(tmp_path / "sweep" / name) == records(whole.folder / name)


def test_a_sweep_that_was_killed_at_a_picture_draws_it_when_it_goes_on(tiny, tmp_path):
    def killed(*_args, **_settings):
        raise KeyboardInterrupt

    preset, out = tiny("seeds = [0, 1]", "seeds = [0]"), tmp_path / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "plot_training", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(preset, out, parallel=1)
    sweep(preset, out, parallel=1)
    assert [(out / name / "training.png").is_file() for name in ("dtfl-seed0", "fedavg-seed0")] == [True, True]


def test_a_finished_sweep_is_only_compared_again(whole, tiny, monkeypatch):
    monkeypatch.setattr(many_runs, "train", None)
    heard = Heard()
    again = sweep(tiny(), whole.folder, parallel=1, callbacks=[heard])
    assert heard.events == [("announced", 4, (2, 2, 2, 2)), *((name, "cached") for name in NAMES)]
    assert as_json(again.comparison) == as_json(whole.comparison)


def test_a_folder_of_other_runs_is_refused_and_left_as_it_was(whole, tiny):
    before = content(whole.folder)
    with pytest.raises(InputError, match=r"has a run 'dtfl-seed0' of another configuration \(rounds: 2 -> 3\)"):
        sweep(tiny("rounds = 2", "rounds = 3"), whole.folder, parallel=1)
    assert content(whole.folder) == before


def test_a_run_that_fails_does_not_end_the_others_and_the_sweep_says_so(tiny, tmp_path, monkeypatch):
    def sometimes(config, **settings):
        if config.method == "fedavg":
            raise RunError("it went wrong")
        return train(config, **settings)

    preset, heard = tiny("seeds = [0, 1]", "seeds = [0]"), Heard()
    with monkeypatch.context() as patch:
        patch.setattr(many_runs, "train", sometimes)
        done = sweep(preset, tmp_path / "sweep", parallel=1, callbacks=[heard])
    assert [run.name for run in done.runs] == ["dtfl-seed0"]
    assert dict(done.failed) == {"fedavg-seed0": "it went wrong"}
    assert heard.events[-1] == ("fedavg-seed0", "it went wrong")
    assert done.comparison.settings[0].baseline is None
    with pytest.raises(RunError, match=r"1 of 2 runs failed; 'fedavg-seed0': it went wrong; the same command goes on"):
        done.require_whole()
    sweep(preset, tmp_path / "sweep", parallel=1).require_whole()


def test_a_process_trains_the_same(whole, tiny, tmp_path):
    preset = tiny('["dtfl", "fedavg"]\n', '"fedavg"\n')
    preset = replace(preset, runs=preset.runs[:1])
    sweep(preset, tmp_path / "sweep", parallel=2).require_whole()
    assert records(tmp_path / "sweep" / "seed0") == records(whole.folder / "fedavg-seed0")
