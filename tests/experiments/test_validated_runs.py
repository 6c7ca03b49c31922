"""Runs with validation images: what is selected and kept, when they stop, how they resume."""

import json

import pytest
import safetensors
import safetensors.torch
import torch
from interrupted_runs import EVENTFUL, Notes, left_behind

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.partition import dealt, partition
from dtfl_private.experiments.train import train
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.selected_round import rounds_without_gain, selected_round
from dtfl_private.training.tasks import ImageRange

# A rate at which the network soon gets no better: it stops long before the last round.
STOPPING = {**EVENTFUL, "rounds": 30, "lr": 0.02, "validation": 0.25, "patience": 2}


@pytest.fixture(scope="module", params=["server", "clients"])
def stopped(request, tiny_config, patterns, tiny_network, tmp_path_factory):
    """A run that stopped early, with the configuration, and what it left."""
    path, config = tmp_path_factory.mktemp("stopped") / "run", {**STOPPING, "validation_held_by": request.param}
    notes = Notes()
    run = train(tiny_config(**config), out=path, dataset=patterns, model=tiny_network(), callbacks=[notes])
    return run, config, left_behind(path), notes


def test_it_stops_after_so_many_rounds_without_gain_and_says_why(stopped):
    run, _, _, notes = stopped
    accuracies = [record["validation_accuracy"] for record in run.records]
    best = accuracies.index(max(accuracies)) + 1
    assert len(accuracies) == best + 2 < 30
    reason = f"no better validation accuracy in 2 rounds since round {best}"
    assert run.summary["stopped"] == reason
    assert any(reason in note for note in notes.notes)
    assert run.summary["finished"]
    assert run.summary["chosen_on"] == "validation"
    assert run.summary["selected_round"] == best
    assert run.summary["selected_accuracy"] == run.records[best - 1]["test_accuracy"]
    assert run.summary["selected_validation_accuracy"] == max(accuracies)
    assert run.summary["best_accuracy"] == max(record["test_accuracy"] for record in run.records)


def test_the_best_model_is_kept_beside_the_last_one(stopped, prepare_tiny):
    run, config, _, _ = stopped
    best = safetensors.torch.load_file(run.folder.best_model)
    selected = run.records[run.summary["selected_round"] - 1]
    prepared = prepare_tiny(**config)
    executor = InProcess(prepared.worker)
    for images, kind in ((ImageRange(), "test"), (ImageRange(on="validation"), "validation")):
        judged = executor.evaluate(best, images)
        assert judged.correct / judged.images == selected[f"{kind}_accuracy"]
        assert judged.loss_sum / judged.images == selected[f"{kind}_loss"]
    last = safetensors.torch.load_file(run.folder.model)
    assert best.keys() == last.keys()
    assert not all(torch.equal(best[name], tensor) for name, tensor in last.items())
    with safetensors.safe_open(run.folder.best_model, "pt") as file:
        assert json.loads(file.metadata()["run"])["round"] == selected["round"]


@pytest.mark.parametrize("moment", [("finished", 1), ("trained", 5), ("finished", 3)])
def test_a_resumed_run_stops_at_the_same_round_and_leaves_the_same_files(
    stopped, moment, tiny_config, patterns, tiny_network, tmp_path
):
    _, config, expected, _ = stopped
    parts = {"dataset": patterns, "model": tiny_network()}
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(**config), out=tmp_path / "run", callbacks=[Notes(moment)], **parts)
    train(tiny_config(**config), out=tmp_path / "run", resume=True, **parts)
    assert left_behind(tmp_path / "run") == expected


def test_a_run_that_dies_before_its_best_model_is_written_writes_it_when_it_goes_on(
    stopped, monkeypatch, tiny_config, patterns, tiny_network, tmp_path
):
    run, config, expected, _ = stopped
    parts, true, calls = {"dataset": patterns, "model": tiny_network()}, training.save_model, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == len(best_so_far(run.records)):
            raise KeyboardInterrupt
        true(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", dies)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_config(**config), out=tmp_path / "run", **parts)
    train(tiny_config(**config), out=tmp_path / "run", resume=True, **parts)
    assert left_behind(tmp_path / "run") == expected


def best_so_far(records) -> list[int]:
    """Return the rounds that were the best so far when they ended."""
    return [place for place in range(1, len(records) + 1) if selected_round(records[:place])["round"] == place]


def test_a_finished_run_without_its_best_model_is_not_resumed_with_another(
    stopped, tiny_config, patterns, tiny_network, tmp_path
):
    _, config, _, _ = stopped
    parts = {"dataset": patterns, "model": tiny_network()}
    path = tmp_path / "run"
    train(tiny_config(**config), out=path, **parts)
    (path / "best.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"best\.safetensors is damaged .*start again in a new --out folder"):
        train(tiny_config(**config), out=path, resume=True, **parts)


def test_validation_images_of_clients_are_kept_back_of_what_they_would_have_trained_on(patterns, tiny_config):
    settings = {"clients": 4, "partition": "dirichlet:1", "seed": 3}
    plain = dealt(tiny_config(**settings), patterns)
    kept = dealt(tiny_config(**settings, validation=0.3, validation_held_by="clients"), patterns)
    assert plain.validation is None
    for client, part in enumerate(plain.parts):
        start, stop = kept.validation.owned.get(client, (0, 0))
        own = [*kept.dataset.train_images[kept.parts[client]], *kept.validation.images[start:stop]]
        expected = patterns.train_images[torch.from_numpy(part)]
        assert sorted(image.flatten().tolist() for image in own) == sorted(x.flatten().tolist() for x in expected)
    counts = partition(tiny_config(**settings, validation=0.3, validation_held_by="clients"), patterns).counts_KC
    assert counts.sum() == 40 - len(kept.validation.labels)


@pytest.mark.parametrize("held_by", ["server", "clients"])
def test_validation_images_are_in_nobody_s_training_nor_among_the_test_images(prepare_tiny, held_by):
    """Attacks draw members from what clients train on, and non-members from the test images: these are neither."""
    worker = prepare_tiny(validation=0.25, validation_held_by=held_by).worker
    held = {image.tobytes() for image in worker.validation_images.numpy()}
    others = {image.tobytes() for image in [*worker.train_images.numpy(), *worker.test_images.numpy()]}
    assert len(held) == len(worker.validation_labels) > 0
    assert not held & others
    assert sum(map(len, worker.parts)) == len(worker.train_images) == 40 - len(held)


def test_a_run_with_images_of_clients_repeats_itself_from_its_own_configuration(run_tiny):
    run = run_tiny("run", rounds=1, validation=0.25, validation_held_by="clients", max_train_images=30)
    again = run_tiny("again", **read_run_config(run.folder).model_dump(exclude={"dataset", "model", "workers"}))
    assert again.records[0]["test_loss"] == run.records[0]["test_loss"]
    assert again.records[0]["validation_loss"] == run.records[0]["validation_loss"]


def test_without_validation_images_nothing_new_is_measured(run_tiny):
    run = run_tiny("run", rounds=2)
    assert not any("validation" in key for record in run.records for key in record)
    assert not run.folder.best_model.exists()
    assert run.summary["chosen_on"] == "test"
    assert run.summary["selected_round"] == run.summary["best_round"]
    assert "selected_test" not in run.summary
    assert run.summary["test"]["accuracy"] == run.summary["final_accuracy"]
    assert run.summary["test"]["nll"] == pytest.approx(run.summary["final_loss"], rel=1e-12)
    assert [row["class"] for row in run.summary["test"]["per_class"]] == ["a", "b", "c"]


def test_a_run_judged_on_validation_images_selects_by_them_without_judging_twice(run_tiny):
    run = run_tiny("run", rounds=2, validation=0.25, judged_on="validation")
    for record in run.records:
        assert (record["validation_accuracy"], record["validation_loss"]) == (
            record["test_accuracy"],
            record["test_loss"],
        )
    assert (run.summary["chosen_on"], run.summary["judged_on"]) == ("validation", "validation")
    assert run.summary["test"]["n"] == 10


def test_rounds_without_validated_image_count_as_without_gain():
    records = [
        {"round": n, "test_accuracy": 0.1 * n, "validation_accuracy": accuracy}
        for n, accuracy in enumerate([None, 0.0, 0.5, None, 0.5], start=1)
    ]
    assert selected_round(records)["round"] == 3
    assert rounds_without_gain(records) == 2
    assert rounds_without_gain([]) == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"patience": 3}, "patience needs validation images: give validation too"),
        ({"validation_held_by": "clients"}, "validation_held_by clients needs validation images"),
        (
            {"validation": 0.1, "validation_held_by": "clients", "judged_on": "validation"},
            "judged_on validation needs images of the server",
        ),
        (
            {"validation": 0.1, "validation_held_by": "clients", "validation_avoids": [1], "max_train_images": 20},
            "validation_avoids is for images of the server",
        ),
        ({"validation": 0.02, "validation_held_by": "clients"}, "validation 0.02 of what each client has, 14 images"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(patterns, values, said):
    with pytest.raises(InputError, match=said):
        dealt(TrainConfig.model_validate({"clients": 3, **values}), patterns)
