import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from dtfl_private.errors import CheckpointError, InputError, NonFiniteLossError, RunError
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config.files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder import checkpoint
from dtfl_private.experiments.run_folder import summary as summary_file
from dtfl_private.experiments.run_folder.folder import RunFolder, locked
from dtfl_private.experiments.run_folder.summary import has_ended
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protocol.messages import SmashedBatch, Transcript
from dtfl_private.runtime.progress import Progress

# What a round hands to the next is at work: measurements, drift, coming and going.
ENVIRONMENT = {"drift_share": 0.4, "drift_every": 2, "noise": 0.3, "dropout": 0.2}
PRESENCE = {"absent": 0.2, "leave": 0.2, "join": 0.5, "fraction": 0.7}
TRAINING = {"augment": ["crop", "flip"], "lr_patience": 1, "partition": "dirichlet:1"}
EVENTFUL = {"seed": 4, "clients": 5, "rounds": 4, "scheduler": "dynamic", **ENVIRONMENT, **PRESENCE, **TRAINING}


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than all else here; the report's tests draw."""
    monkeypatch.setattr(training, "plot_training", lambda _, path, *, title: path.write_text(title))


@pytest.fixture
def run_tiny(tiny_config, patterns, tiny_network):
    """Train the tiny network on the patterns: ``run_tiny(out, resume=..., listener=..., **settings)``."""

    def run(out: Path | None, *, resume: bool = False, listener: Any = None, objects: Any = None, **values: Any):
        given = {"dataset": patterns, "model": tiny_network(), **(objects or {})}
        return train(tiny_config(**values), out=out, resume=resume, listener=listener, **given)

    return run


def left_behind(path: Path) -> dict[str, Any]:
    """Return what a run leaves that must be the same on every host: everything but wall times and the environment."""
    lines = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
    summary = json.loads((path / "summary.json").read_text())
    for figures in (*lines, summary, summary["last_round"]):
        del figures["wall_time_s"]
    files = [file for file in path.rglob("*") if file.suffix in (".safetensors", ".toml", ".json", ".tmp")]
    return {
        "rounds": lines,
        "summary": summary,
        **{
            str(file.relative_to(path)): file.read_bytes()
            for file in files
            if file.name not in ("summary.json", "environment.json")
        },
    }


class Notes(Progress):
    """A listener that keeps what it hears, and stops the run at a moment: ``Notes(("trained", 2))``."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        self.heard: list[str] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def _hear(self, event: str) -> None:
        self.heard.append(event)
        if self._stop_at == (event, self.heard.count(event)):
            raise KeyboardInterrupt

    def run_started(self, folder, rounds, records, describe) -> None:
        self._hear("started")

    def round_planned(self, plan) -> None:
        self._hear("planned")

    def client_trained(self, client) -> None:
        self._hear("trained")

    def round_finished(self, record) -> None:
        self._hear("finished")

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def uninterrupted(tiny_config, patterns, tiny_network, tmp_path_factory):
    """What the eventful run leaves when nothing happens to it."""
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "plot_training", lambda *_args, **_settings: None)
    train(tiny_config(**EVENTFUL), out=path, dataset=patterns, model=tiny_network())
    patch.undo()
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
        patch, summary_file, "write_atomic", 5, before=write_half_a_file
    ),
    "between the third model and summary": lambda patch: crash_at_call(patch, summary_file, "write_atomic", 6),
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
        listener = CRASHES[where](patch)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(path, listener=listener, **EVENTFUL)
    # Twice, for a resume too may end early.
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, resume=True, listener=Notes(("started", 1)), **EVENTFUL)
    notes = Notes()
    run = run_tiny(path, resume=True, listener=notes, **EVENTFUL)
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
        "model.safetensors",
        "rounds",
        "summary",
    ]


def test_a_torn_last_line_is_said(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, listener=Notes(("finished", 2)), **EVENTFUL)
    write_half_a_line(RunFolder(path=path), json.loads((path / "rounds.jsonl").read_text().splitlines()[1]))
    run_tiny(path, resume=True, listener=notes, **EVENTFUL)
    assert notes.notes == ["the last line of rounds.jsonl was torn and is dropped"]
    assert left_behind(path) == uninterrupted


def test_a_damaged_checkpoint_is_said_and_the_older_one_taken(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, listener=Notes(("finished", 3)), **EVENTFUL)
    state = path / "checkpoint" / "round-000003" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    run_tiny(path, resume=True, listener=notes, **EVENTFUL)
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
    again = run_tiny(path, resume=True, listener=notes)
    assert notes.heard == ["started"]
    assert left_behind(path) == before
    assert again.records == first.records
    assert again.summary == first.summary


def test_what_fills_a_resumed_folder_besides_the_run_does_no_harm(run_tiny, uninterrupted, tmp_path):
    path, notes = tmp_path / "run", Notes()
    with pytest.raises(KeyboardInterrupt):
        run_tiny(path, listener=Notes(("finished", 2)), **EVENTFUL)
    shutil.copytree(path / "checkpoint" / "round-000002", path / "checkpoint" / ".round-000003.tmp")
    (path / ".model.safetensors.tmp").write_bytes(b"half")
    (path / ".rounds.jsonl.tmp").write_bytes(b"half")
    run_tiny(path, resume=True, listener=notes, **EVENTFUL)
    assert notes.notes == []
    after = left_behind(path)
    assert after.pop(".rounds.jsonl.tmp") == b"half"
    assert after == uninterrupted


def test_the_folder_holds_the_whole_run(run_tiny, tmp_path):
    run = run_tiny(tmp_path / "run", target_accuracy=0.1)
    assert sorted(path.name for path in run.folder.path.iterdir()) == [
        *("checkpoint", "config.toml", "environment.json", "model.safetensors"),
        *("rounds.jsonl", "summary.json", "training.png"),
    ]
    lines = [json.loads(line) for line in run.folder.rounds.read_text().splitlines()]
    assert lines == list(run.records)
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert json.loads(run.folder.summary.read_text()) == run.summary
    assert run.summary["last_round"] == lines[-1]
    assert run.summary["finished"] is True
    assert read_run_config(run.folder) == run.config
    model = safetensors.torch.load_file(run.folder.model)
    last = safetensors.torch.load_file(run.folder.checkpoint / "round-000003" / "state.safetensors")
    assert all(torch.equal(tensor, last[f"model/{name}"]) for name, tensor in model.items())


def test_every_value_of_the_saved_configuration_is_explicit(run_tiny, tmp_path):
    config = run_tiny(tmp_path / "run", partition="dirichlet", rounds=1).config
    assert config.max_train_images == 40
    assert config.norm == "batch"
    assert config.tiers == 3
    assert config.workers == 1
    assert config.memory_format == "channels-last"
    assert config.partition == "dirichlet:alpha=0.5,floor=2"
    assert len(config.profiles) == 5
    written = (tmp_path / "run" / "config.toml").read_text()
    assert all(f"\n{name} = " in f"\n{written}" or f"[[{name}]]" in written for name in TrainConfig.model_fields)


def test_a_listener_hears_every_step_in_order(run_tiny, tmp_path):
    notes = Notes()
    run_tiny(tmp_path / "run", rounds=2, listener=notes)
    assert notes.heard == ["started", *(["planned", "trained", "trained", "trained", "finished"] * 2)]
    assert notes.notes == []


def test_fresh_folders_are_numbered_below_runs(run_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert run_tiny(None, rounds=1).folder.path == Path(f"runs/ImageDataset-StagedModel-dtfl-{number:03d}")


def test_preparing_a_run_writes_nothing_and_repeats_itself(prepare_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again = prepare_tiny(), prepare_tiny()
    assert list(tmp_path.iterdir()) == []
    assert first.config == again.config
    for name, tensor in first.initial.weights.model.items():
        assert torch.equal(again.initial.weights.model[name], tensor)


# What is refused, and leaves nothing behind.


@pytest.fixture
def finished(run_tiny, tmp_path) -> Path:
    run_tiny(tmp_path / "run", rounds=1)
    return tmp_path / "run"


def test_a_run_is_not_resumed_on_other_data(run_tiny, finished, patterns):
    other = replace(patterns, train_labels=patterns.train_labels.roll(1))
    with pytest.raises(InputError, match="was started with other data"):
        run_tiny(finished, resume=True, rounds=1, objects={"dataset": other})
    (finished / "environment.json").write_text("[]")
    with pytest.raises(RunError, match=r"environment\.json is missing or damaged"):
        run_tiny(finished, resume=True, rounds=1)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"defenses": ["identity"]}, "defense 'identity' is a str, expected an object of a subclass of dtfl"),
        ({"model": [1, 2]}, "model is a list, expected a Module"),
        ({"dataset": [1, 2]}, "dataset is a list, expected a Dataset"),
    ],
)
def test_objects_that_are_no_plugins_are_refused(run_tiny, tmp_path, objects, message):
    with pytest.raises(InputError, match=message):
        run_tiny(tmp_path / "run", objects=objects)
    assert not any(tmp_path.iterdir())


def test_a_disk_that_refuses_ends_the_run_in_one_line_and_it_can_be_resumed(run_tiny, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", full)
        with pytest.raises(RunError, match=r"cannot be written: .*No space left on device; mend that, then --resume"):
            run_tiny(tmp_path / "run", rounds=1)
    assert run_tiny(tmp_path / "run", resume=True, rounds=1).summary["finished"]


def test_an_existing_folder_is_not_written_to_unless_resumed(run_tiny, finished):
    before = left_behind(finished)
    with pytest.raises(InputError, match=r"run' exists: add --resume to go on with it, or choose another --out"):
        run_tiny(finished, rounds=1)
    assert left_behind(finished) == before


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
    resumed = run_tiny(tmp_path / name, resume=True, listener=notes, rounds=1)
    assert notes.notes == ["no checkpoint yet: starting from the beginning"]
    run_tiny(tmp_path / "run", rounds=1)
    assert left_behind(resumed.folder.path) == left_behind(tmp_path / "run")


def test_a_folder_in_use_is_refused(run_tiny, finished):
    with locked(RunFolder(path=finished)), pytest.raises(InputError, match="in use by another process"):
        run_tiny(finished, resume=True, rounds=1)
    assert run_tiny(finished, resume=True, rounds=1).summary["rounds"] == 1


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


def test_stopping_at_a_target_needs_one(run_tiny, tmp_path):
    with pytest.raises(InputError, match="stop_at_target needs a target"):
        run_tiny(tmp_path / "run", stop_at_target=True)
    assert list(tmp_path.iterdir()) == []


def test_observers_need_one_worker_and_that_is_known_before_anything_is_written(run_tiny, tmp_path):
    with pytest.raises(InputError, match=r"observers see messages .*workers=1"):
        run_tiny(tmp_path / "run", objects={"observers": [print]}, workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_explodes_ends_the_run_and_names_the_culprit(run_tiny, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(NonFiniteLossError, match=r"loss of client \d became .* in round 1"):
        run_tiny(path, lr=1e30)
    assert sorted(file.name for file in path.iterdir()) == ["config.toml", "environment.json"]


# What a user may bring along from Python.


class Deepest:
    uses_times: ClassVar[bool] = True

    def assign(self, choice, rng):
        return np.full(len(choice.times_s_KM), choice.tiers_M[-1])


class Silence(Defense):
    def protect_batch(self, message, at):
        return type(message)(**{**vars(message), "smashed": torch.zeros_like(message.smashed)})


def test_data_network_scheduler_and_defense_can_be_objects(tiny_config, patterns, tiny_network, tmp_path):
    network, transcript = tiny_network(), Transcript()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    objects = {"dataset": patterns, "model": network, "scheduler": Deepest(), "defenses": [Silence()]}
    config = tiny_config(first_tier="shallowest", rounds=2)
    run = train(config, out=tmp_path / "run", observers=[transcript.record], **objects)
    assert run.records[0]["tiers"] == {"0": 1, "1": 1, "2": 1}
    assert run.records[1]["tiers"] == {"0": 3, "1": 3, "2": 3}
    assert not any(message.smashed.any() for message in transcript.messages if hasattr(message, "smashed"))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())

    saved = read_run_config(run.folder)
    assert (saved.dataset, saved.model) == ("object:ImageDataset", "object:StagedModel")
    assert (saved.scheduler, saved.defense) == ("object:Deepest", ["object:Silence"])
    # The same objects go on with it; without them it cannot be repeated.
    assert train(out=tmp_path / "run", resume=True, **objects).records == run.records
    for missing in ("dataset", "model", "scheduler", "defenses"):
        others = {name: thing for name, thing in objects.items() if name != missing}
        with pytest.raises(InputError, match=r"'object:\w+' was an object passed from Python"):
            train(saved, out=tmp_path / "again", **others)
    assert not (tmp_path / "again").exists()


def test_a_network_trains_on_from_the_weights_it_has(patterns, tiny_network, tiny_config):
    network = tiny_network()
    with torch.no_grad():
        network.top[2].bias.fill_(7)
    prepared = prepare(tiny_config(), objects=RunObjects(dataset=patterns, model=network))
    assert prepared.initial.weights.model["top.2.bias"].tolist() == [7, 7, 7]


def test_a_run_has_ended_when_its_picture_is_drawn_and_not_before(run_tiny, tmp_path, monkeypatch):
    """A sweep goes on with what has not ended, and leaves alone what has."""
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        CRASHES["at the picture"](patch)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(path)
    assert not has_ended(RunFolder(path=path))
    run_tiny(path, resume=True)
    assert has_ended(RunFolder(path=path))
    assert (path / "training.png").is_file()


def network_in_place() -> StagedModel:
    """A network whose layer before the ReLU in place has weights: per-record gradients hook into it."""
    return StagedModel(
        [
            ("stem", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))),
            ("body", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())),
            ("top", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))),
        ]
    )


class Stumbles(Defense):
    """A defense of the user's own with a mistake that shows when it is used."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="nothing", acts_on=("smashed",), guarantee="none", cost="none", attacker="nothing"
    )

    def protect_batch(self, message, at):
        return message.no_such_field


@pytest.mark.parametrize(
    ("objects", "settings", "said"),
    [
        (
            {"model": network_in_place()},
            {"defense": ["dp-weights:noise_multiplier=1"]},
            "dp-weights cannot protect this network: a layer changes its input in place: .* ReLU without inplace",
        ),
        (
            {"defenses": [Stumbles()]},
            {},
            r"cannot be trained with stumbles: a batch of 4 in tier 3.*AttributeError: .*no_",
        ),
    ],
)
def test_what_shows_only_in_training_is_found_before_a_folder_is_there(run_tiny, tmp_path, objects, settings, said):
    notes = Notes()
    with pytest.raises(InputError, match=said):
        run_tiny(tmp_path / "run", listener=notes, objects=objects, **settings)
    assert list(tmp_path.iterdir()) == []
    assert notes.heard == []


class Counts(Defense):
    """A defense that keeps something, as it should not."""

    facts: ClassVar[DefenseFacts] = Stumbles.facts

    def __init__(self) -> None:
        self.batches = 0

    def protect_batch(self, message, at):
        self.batches += 1
        return message


def test_the_trial_before_a_run_is_no_part_of_it(run_tiny, tmp_path):
    counts, seen = Counts(), Transcript()
    run_tiny(tmp_path / "run", rounds=1, objects={"defenses": [counts], "observers": [seen.record]})
    smashed = [message for message in seen.messages if isinstance(message, SmashedBatch)]
    assert counts.batches == len(smashed) == 12  # of 40 records, 4 at a time, from three clients


def test_more_workers_than_clients_are_not_started_and_that_is_said(prepare_tiny):
    prepared = prepare_tiny(workers=1000)
    assert prepared.workers == prepared.config.workers == 3
    assert prepared.notes == ["3 workers instead of 1000: more clients do not train in a round"]
    assert prepare_tiny(workers=2).notes == []


def test_a_defense_of_a_notebook_is_refused_with_several_workers_before_a_folder_is_there(
    run_tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(Counts, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(Counts=Counts))
    said = r"^defense counts cannot be sent to worker processes \(Counts is defined in a notebook.*use workers=1$"
    with pytest.raises(InputError, match=said):
        run_tiny(tmp_path / "run", workers=2, objects={"defenses": [Counts()]})
    assert list(tmp_path.iterdir()) == []
    assert run_tiny(tmp_path / "run", workers=1, rounds=1, objects={"defenses": [Counts()]}).summary["finished"]
