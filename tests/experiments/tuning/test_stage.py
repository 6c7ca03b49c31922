"""A sweep with a tuning stage, on trainings of a moment."""

import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from dtfl_private.errors import InputError, NonFiniteLossError, RunError
from dtfl_private.experiments import many_runs
from dtfl_private.experiments.sweep import sweep
from dtfl_private.report.comparison.document import as_json
from dtfl_private.runtime.callback import Callback


@pytest.fixture
def trainings(monkeypatch, write_run):
    """Write runs by hand instead of training them; return a list of the names of those that were."""
    made: list[str] = []

    def start(reached, stop_at=None) -> list[str]:
        made.clear()

        def written(config, *, out, resume, callbacks):
            assert resume
            callbacks[0].run_started(Path(out), config.rounds, [], list)
            if len(made) == stop_at:
                raise KeyboardInterrupt
            write_run(Path(out), reached(config), **config.model_dump())
            made.append(Path(out).name)

        monkeypatch.setattr(many_runs, "train", written)
        return made

    return start


BY_ACCURACY = ('"time-to-target"', '"accuracy"')


def by_rate(config) -> list[float]:
    """FedAvg is best with lr 0.02, FedProx as the preset has it."""
    good = config.lr == 0.02 if config.method == "fedavg" else (config.method, config.lr) == ("fedprox", 0.001)
    return [0.8 if good else 0.5] * config.rounds


FINAL = ["fedavg-seed0", "fedavg-seed1", "fedprox-seed0", "fedprox-seed1"]


def test_the_best_trial_of_each_method_makes_its_tuned_runs(tuned, trainings, tmp_path):
    made = trainings(by_rate)
    done = sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    assert len(made) == 2 * 3 * 2 + 4 + 2
    # FedProx's own settings are the best: its tuned runs are the untuned ones, and not made again.
    assert made[12:] == [*FINAL, "fedavg-tuned-seed0", "fedavg-tuned-seed1"]
    untuned, chosen = done.comparison.settings
    assert [setting.name for setting in (untuned, chosen)] == ["settings untuned", "settings tuned"]
    assert [[group.name for group in setting.groups] for setting in (untuned, chosen)] == [["fedavg", "fedprox"]] * 2
    assert [setting.baseline.name for setting in (untuned, chosen)] == ["fedavg", "fedavg"]
    assert [group.accuracy("final_accuracy").mean for group in untuned.groups] == [0.5, 0.8]
    assert [group.accuracy("final_accuracy").mean for group in chosen.groups] == [0.8, 0.8]
    by_name = {(row["setting"], row["name"]): row for row in as_json(done.comparison)["methods"]}
    assert by_name["settings untuned", "fedavg"]["tuned"] is None
    assert by_name["settings tuned", "fedavg"]["tuned"]["settings"] == {"lr": 0.02}
    assert by_name["settings tuned", "fedavg"]["tuned"]["chosen"] == 2
    assert [trial["accuracy"] for trial in by_name["settings tuned", "fedavg"]["tuned"]["trials"]] == [0.5, 0.5, 0.8]


def test_runs_may_be_tuned_alone(tuned, trainings, tmp_path):
    made = trainings(by_rate)
    done = sweep(tuned(BY_ACCURACY, ("seeds = [7, 8]", "seeds = [7]\nuntuned = false")), tmp_path / "s", parallel=1)
    assert made[6:] == ["fedavg-tuned-seed0", "fedavg-tuned-seed1", "fedprox-seed0", "fedprox-seed1"]
    (setting,) = done.comparison.settings
    assert [group.tuned.chosen for group in setting.groups] == [2, 0]


@pytest.mark.parametrize("stop_at", [0, 5, 11, 12, 14, 17])
def test_a_sweep_that_is_interrupted_in_a_trial_or_after_them_goes_on_and_repeats_none(
    tuned, trainings, tmp_path, stop_at
):
    trainings(by_rate)
    whole = sweep(tuned(BY_ACCURACY), tmp_path / "whole", parallel=1)
    made = trainings(by_rate, stop_at)
    with pytest.raises(KeyboardInterrupt):
        sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    first = [*made]
    assert (tmp_path / "sweep" / "tuning.json").exists() == (stop_at >= 12)
    made = trainings(by_rate)
    done = sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    assert len({*first, *made}) == len(first) + len(made) == 18
    assert [row["tuned"] for row in as_json(done.comparison)["methods"]] == [
        row["tuned"] for row in as_json(whole.comparison)["methods"]
    ]


def test_what_was_chosen_is_kept_without_the_trials(tuned, trainings, tmp_path):
    made = trainings(by_rate)
    sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    shutil.rmtree(tmp_path / "sweep" / "tuning")
    made = trainings(by_rate)
    done = sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    assert made == []
    assert [group.tuned.chosen for group in done.comparison.settings[1].groups] == [2, 0]


def test_a_trial_that_diverges_is_an_outcome_and_not_tried_again(tuned, trainings, tmp_path):
    tried = []

    def diverging(config):
        if config.judged_on == "validation" and config.lr == 0.02:
            tried.append((config.method, config.seed))
            raise NonFiniteLossError("the loss became nan")
        return by_rate(config)

    class Heard(Callback):
        notes: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    trainings(diverging, stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1, callbacks=[Heard()])
    assert "fedavg-trial3-seed7 diverged, and is not chosen: the loss became nan" in Heard.notes
    trainings(diverging)
    done = sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    assert sorted(tried) == [("fedavg", 7), ("fedavg", 8), ("fedprox", 7), ("fedprox", 8)]
    assert [group.tuned.chosen for group in done.comparison.settings[1].groups] == [0, 0]
    fedavg = done.comparison.settings[1].groups[0]
    assert [outcome.diverged for outcome in fedavg.tuned.trials] == [False, False, True]


def test_a_trial_that_fails_otherwise_ends_the_sweep_before_a_choice(tuned, trainings, tmp_path):
    def failing(config):
        if config.lr == 0.02:
            raise RunError("the disk is full")
        return by_rate(config)

    trainings(failing)
    with pytest.raises(RunError, match=r"4 of 12 trial runs failed; 'fedavg-trial3-seed7': the disk is full; the same"):
        sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1)
    assert not (tmp_path / "sweep" / "tuning.json").exists()
    made = trainings(by_rate)
    sweep(tuned(BY_ACCURACY), tmp_path / "sweep", parallel=1).require_whole()
    assert len(made) == 4 + 6


def test_trials_of_another_preset_and_too_few_images_are_refused_and_nothing_is_written(tuned, trainings, tmp_path):
    trainings(by_rate, stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        sweep(tuned(), tmp_path / "sweep", parallel=1)
    made = trainings(by_rate)
    with pytest.raises(
        InputError, match=r"has a run 'fedavg-trial2-seed7' of another configuration \(lr: 0.005 -> 0.006"
    ):
        sweep(tuned(("0.005", "0.006")), tmp_path / "sweep", parallel=1)
    with pytest.raises(InputError, match=r"validation 0\.98 of 1,437 training images is 1,408, but only"):
        sweep(tuned(("validation = 0.1", "validation = 0.98")), tmp_path / "other", parallel=1)
    assert made == []
    assert not (tmp_path / "other").exists()
