import json
import shutil
from dataclasses import replace

import pytest
from interrupted_runs import EVENTFUL, Notes, left_behind

from dtfl_private.errors import CheckpointError, InputError, RunError
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.run_folder import checkpoint, model_file
from dtfl_private.experiments.run_folder import summary as summary_file
from dtfl_private.experiments.run_folder.folder import RunFolder, locked
from dtfl_private.experiments.train import train


@pytest.fixture(scope="module")
def uninterrupted(tiny_config, patterns, tiny_network, tmp_path_factory):
    """What the eventful run leaves when nothing happens to it."""
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(tiny_config(**EVENTFUL), out=path, dataset=patterns, model=tiny_network())
    return left_behind(path)


def crash(*_args, **_settings):
    raise KeyboardInterrupt


def crash_at_call(monkeypatch, module, name: str, call: int, *, before=lambda *_: None) -> None:
    """Let the ``call``-th call of a function end the run, after ``before`` has seen its arguments."""
    true, calls = getattr(module, name), []

    def sometimes(*args, **settings):
        calls.append(args)
        if len(calls) == call:
            before(*args)
            raise KeyboardInterrupt
        return true(*args, **settings)

    monkeypatch.setattr(module, name, sometimes)


def write_half_a_line(folder, record) -> None:
    with folder.rounds.open("a") as file:
        file.write(json.dumps(record)[:99])


def write_half_a_file(path, data) -> None:
    path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2])


# Each of these ends the eventful run of four rounds somewhere.
CRASHES = {
    "before the first round": lambda _: Notes(("started", 1)),
    "when the first round is planned": lambda _: Notes(("planned", 1)),
    "in the midst of the first round": lambda _: Notes(("trained", 2)),
    "while the first line is written": lambda patch: crash_at_call(
        patch, training, "append_record", 1, before=write_half_a_line
    ),
    "after the first line, before any checkpoint": lambda patch: crash_at_call(patch, training, "save_checkpoint", 1),
    "in the first checkpoint": lambda patch: crash_at_call(patch, checkpoint, "write_synced", 2),
    "after the first checkpoint": lambda patch: crash_at_call(patch, training, "_write_results", 1),
    "in the midst of the third round": lambda _: Notes(("trained", 7)),
    "while the third line is written": lambda patch: crash_at_call(
        patch, training, "append_record", 3, before=write_half_a_line
    ),
    "after the third line": lambda patch: crash_at_call(patch, training, "save_checkpoint", 3),
    "at the manifest of the third checkpoint": lambda patch: crash_at_call(patch, checkpoint, "write_synced", 9),
    "before the third checkpoint gets its name": lambda patch: crash_at_call(patch, checkpoint, "sync_folder", 5),
    "after the third checkpoint got its name": lambda patch: crash_at_call(patch, checkpoint, "sync_folder", 6),
    "while the third model is written": lambda patch: crash_at_call(
        patch, model_file, "write_atomic", 3, before=write_half_a_file
    ),
    "between the third model and summary": lambda patch: crash_at_call(patch, summary_file, "write_atomic", 3),
    "after the third round": lambda _: Notes(("finished", 3)),
    "after the last round": lambda _: Notes(("finished", 4)),
    "at the picture": lambda patch: patch.setattr(training, "plot_training", crash),
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_run_that_ended_anywhere_goes_on_as_if_nothing_had_happened(
    run_tiny, uninterrupted, tmp_path, monkeypatch, where
):
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        heard = CRASHES[where](patch)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(path, callbacks=[] if heard is None else [heard], **EVENTFUL)
    # Twice, for a resume too may end early.
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, resume=True, callbacks=[Notes(("started", 1))], **EVENTFUL)
    notes = Notes()
    run = run_tiny(path, resume=True, callbacks=[notes], **EVENTFUL)
    assert left_behind(path) == uninterrupted
    assert (path / "training.png").is_file()
    assert len(run.records) == run.summary["rounds"] == 4
    started_again = "no checkpoint yet: starting from the beginning" in notes.notes
    assert started_again == ("first" in where and where != "after the first checkpoint")


def test_the_eventful_run_is_eventful(uninterrupted):
    lines = uninterrupted["rounds"]
    assert len({tier for line in lines for tier in line["tiers"].values()}) > 1
    assert len({tuple(line["participants"]) for line in lines}) > 1
    assert any(line["dropped"] for line in lines)
    assert sorted(name for name in uninterrupted if "/" not in name) == [
        "config.toml",
        "dataset.json",
        "model.safetensors",
        "rounds",
        "summary",
    ]


def test_a_torn_last_line_is_said(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, callbacks=[Notes(("finished", 2))], **EVENTFUL)
    write_half_a_line(RunFolder(path=path), json.loads((path / "rounds.jsonl").read_text().splitlines()[1]))
    run_tiny(path, resume=True, callbacks=[notes], **EVENTFUL)
    assert notes.notes == ["the last line of rounds.jsonl was torn and is dropped"]
    assert left_behind(path) == uninterrupted


def test_a_damaged_checkpoint_is_said_and_the_older_one_taken(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, callbacks=[Notes(("finished", 3))], **EVENTFUL)
    state = path / "checkpoint" / "round-000003" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    run_tiny(path, resume=True, callbacks=[notes], **EVENTFUL)
    (said,) = notes.notes
    assert said.startswith("checkpoint round-000003 is damaged and was not loaded: state.safetensors")
    assert notes.heard.count("finished") == 2
    assert left_behind(path) == uninterrupted


def test_without_an_intact_checkpoint_a_run_is_not_resumed_and_left_as_it_is(run_tiny, tmp_path):
    path = tmp_path / "run"
    run_tiny(path)
    for state in path.glob("checkpoint/*/state.json"):
        state.write_text("{}")
    before = left_behind(path)
    with pytest.raises(CheckpointError, match="no intact checkpoint is left"):
        run_tiny(path, resume=True)
    assert left_behind(path) == before


def test_a_checkpoint_without_the_records_of_its_rounds_is_an_error(run_tiny, tmp_path):
    path = tmp_path / "run"
    run_tiny(path)
    lines = (path / "rounds.jsonl").read_text().splitlines(keepends=True)
    (path / "rounds.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(
        RunError, match=r"ends with round 2, the checkpoint with round 3: start again in a new --out folder"
    ):
        run_tiny(path, resume=True)


def test_resuming_a_finished_run_trains_nothing_and_restores_what_is_missing(run_tiny, tmp_path):
    path, notes = tmp_path / "run", Notes()
    first = run_tiny(path)
    before = left_behind(path)
    (path / "model.safetensors").unlink()
    again = run_tiny(path, resume=True, callbacks=[notes])
    assert notes.heard == ["started"]
    assert left_behind(path) == before
    assert again.records == first.records
    assert again.summary == first.summary


def test_what_fills_a_resumed_folder_besides_the_run_does_no_harm(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, callbacks=[Notes(("finished", 2))], **EVENTFUL)
    shutil.copytree(path / "checkpoint" / "round-000002", path / "checkpoint" / ".round-000003.tmp")
    (path / ".model.safetensors.tmp").write_bytes(b"half")
    (path / ".rounds.jsonl.tmp").write_bytes(b"half")
    run_tiny(path, resume=True, callbacks=[notes], **EVENTFUL)
    assert notes.notes == []
    after = left_behind(path)
    assert after.pop(".rounds.jsonl.tmp") == b"half"
    assert after == uninterrupted


def test_a_run_is_not_resumed_on_other_data(run_tiny, finished, patterns):
    other = replace(patterns, train_labels=patterns.train_labels.roll(1))
    with pytest.raises(InputError, match="was started with other data"):
        run_tiny(finished, resume=True, rounds=1, objects={"dataset": other})
    (finished / "environment.json").write_text("[]")
    with pytest.raises(RunError, match=r"environment\.json is missing or damaged"):
        run_tiny(finished, resume=True, rounds=1)


def test_another_configuration_is_named_and_refused(run_tiny, finished):
    before = left_behind(finished)
    said = r"has another configuration \(lr: 0.001 -> 0.1; seed: 0 -> 3\): choose another --out"
    with pytest.raises(InputError, match=said):
        run_tiny(finished, resume=True, rounds=1, lr=0.1, seed=3)
    assert left_behind(finished) == before


def test_the_number_of_workers_and_the_place_of_the_data_may_change(run_tiny, finished, tmp_path):
    assert run_tiny(finished, resume=True, rounds=1, workers=2, data_dir=tmp_path).summary["rounds"] == 1


def test_what_is_no_run_is_not_resumed(run_tiny, tmp_path):
    with pytest.raises(InputError, match="--resume needs --out RUN"):
        run_tiny(None, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("")
    with pytest.raises(InputError, match=r"mine' is not a run folder: it has no config.toml"):
        run_tiny(tmp_path / "mine", resume=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letter", "mine"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_resuming_where_nothing_is_yet_starts_from_the_beginning_and_says_so(run_tiny, tmp_path, name):
    # The run may have been killed before its folder was there.
    (tmp_path / "empty").mkdir()
    notes = Notes()
    resumed = run_tiny(tmp_path / name, resume=True, callbacks=[notes], rounds=1)
    assert notes.notes == ["no checkpoint yet: starting from the beginning"]
    run_tiny(tmp_path / "run", rounds=1)
    assert left_behind(resumed.folder.path) == left_behind(tmp_path / "run")


def test_a_folder_in_use_is_refused(run_tiny, finished):
    with locked(RunFolder(path=finished)), pytest.raises(InputError, match="in use by another process"):
        run_tiny(finished, resume=True, rounds=1)
    assert run_tiny(finished, resume=True, rounds=1).summary["rounds"] == 1
