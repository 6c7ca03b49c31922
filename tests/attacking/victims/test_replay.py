import json
import shutil

import pytest
import torch
from fast_attacks import LeastSquares

from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.heads import LocalClassifier


def test_what_is_no_run_is_refused(mount, tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        mount(tmp_path, [LeastSquares()])


@pytest.fixture
def copied(trained, tmp_path):
    """Copy a tiny run's folder: ``copied(**settings)``."""

    def copy(**values):
        shutil.copytree(trained(**values), tmp_path / "copy")
        return tmp_path / "copy"

    return copy


def test_the_last_round_is_played_again_as_it_was(opened):
    run = opened()
    assert (run.before.round, run.plan.round, run.after.round) == (1, 2, 2)
    assert {str(task.client): task.tier for task in run.tasks} == run.records[-1]["tiers"]
    assert run.tiers == sorted(run.heads) == [1, 2, 3]
    assert run.whole_tier is None
    name = next(iter(run.after.weights.model))
    assert not torch.equal(run.before.weights.model[name], run.after.weights.model[name])


def test_tiers_that_the_run_leaves_out_have_heads_too_for_a_malicious_server_may_name_any(opened):
    run = opened(allowed_tiers=[3])
    assert run.tiers == [3]
    assert sorted(run.cut_shapes) == sorted(run.heads) == sorted(run.weights.heads) == [1, 2, 3]
    assert sorted(run.spare_heads) == [1, 2]
    whole = opened(method="dtfl-full", scheduler="static:4")
    assert (whole.tiers, whole.cut_tiers, whole.whole_tier) == ([1, 2, 3, 4], [1, 2, 3], 4)
    assert list(whole.weights.heads[4]) == []


def test_heads_that_the_run_leaves_out_are_of_the_size_of_the_others(opened):
    run = opened(allowed_tiers=[3], head="large")
    assert [type(run.heads[tier]) for tier in (1, 2, 3)] == [LocalClassifier] * 3


def test_a_run_without_a_finished_round_is_refused(copied, objects):
    folder = copied()
    (folder / "rounds.jsonl").write_text("")
    with pytest.raises(InputError, match="has no finished round yet: train it first"):
        open_run(folder, objects=RunObjects(**objects))


def test_a_run_on_other_data_is_refused(copied, objects, patterns):
    with pytest.raises(InputError, match="was trained on other data than are there now"):
        open_run(copied(), objects=RunObjects(**{**objects, "dataset": patterns}))


def test_a_run_whose_clients_send_nothing_is_refused(trained, objects):
    with pytest.raises(InputError, match="was trained by centralised, whose clients send nothing"):
        open_run(trained(method="centralised", clients=1), objects=RunObjects(**objects))


def test_a_schedule_that_is_not_the_recorded_one_is_refused(copied, objects):
    folder = copied()
    *earlier, last = (folder / "rounds.jsonl").read_text().splitlines()
    changed = json.loads(last)
    changed["tiers"] = {client: tier % 3 + 1 for client, tier in changed["tiers"].items()}
    (folder / "rounds.jsonl").write_text("\n".join([*earlier, json.dumps(changed)]) + "\n")
    with pytest.raises(RunError, match="its schedule differs from the recorded one"):
        open_run(folder, objects=RunObjects(**objects))


def test_a_run_of_a_device_that_is_not_here_is_played_again_on_the_cpu(copied, objects, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = copied()
    assert open_run(folder, objects=RunObjects(**objects)).notes == []
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace('device = "cpu"', 'device = "cuda"'))
    run = open_run(folder, objects=RunObjects(**objects))
    assert (run.trained_on, run.prepared.worker.numerics.device) == ("cuda", "cpu")
    assert run.notes == ["the run was trained on cuda, which is not here: rounds are played again on cpu"]
