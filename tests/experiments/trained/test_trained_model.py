import shutil

import pytest
import torch
from torch import nn

from dtfl_private.data.digits import load_digits
from dtfl_private.data.text import load_sentences
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.train import train
from dtfl_private.experiments.trained.trained_model import load_model
from dtfl_private.training.worker import Worker

TEST = load_digits(size=8)


def accuracy(model: nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(images).argmax(dim=1) == TEST.test_labels).double().mean())


def test_a_loaded_network_has_the_accuracy_that_the_run_reported(digits_run):
    model = load_run(digits_run.folder.path).model()
    reported = digits_run.records[-1]["test_accuracy"]
    assert 0.2 < reported < 1
    assert accuracy(model, TEST.test_images) == reported
    assert accuracy(model, TEST.test_images.float() / 255) == reported
    assert not model.training
    assert model.classes == TEST.classes
    # As it was before the normalisation was kept: the same weights on images that are not normalised.
    assert accuracy(model.network, TEST.test_images.float() / 255) != reported


def test_a_file_of_weights_is_enough(digits_run, tmp_path):
    alone = tmp_path / "elsewhere.safetensors"
    shutil.copy(digits_run.folder.model, alone)
    assert accuracy(load_model(alone), TEST.test_images) == digits_run.records[-1]["test_accuracy"]


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16"}, {"precision": "fp64"}, {"normalization": "constants"}, {"memory_format": "channels-last"}],
    ids=str,
)
def test_it_computes_as_the_run_did(prepare_tiny, patterns, tiny_network, run_tiny, settings):
    values = {"normalization": "constants:mean=0.4,std=0.3"} if "normalization" in settings else settings
    run = run_tiny("run", rounds=1, **values)
    worker = Worker(prepare_tiny(rounds=1, **values).worker)
    model = load_run(run.folder.path, model=tiny_network()).model()
    worker.model.load_state_dict(model.network.state_dict())
    worker.model.eval()
    with torch.no_grad(), worker.setup.numerics.autocast():
        expected = worker.model(worker._inputs(patterns.test_images)).float()
        torch.testing.assert_close(model(patterns.test_images), expected, rtol=0, atol=0)


def test_what_train_returns_can_do_what_an_opened_run_can(digits_run):
    assert torch.equal(
        digits_run.model()(TEST.test_images[:5]), load_run(digits_run.folder.path).model()(TEST.test_images[:5])
    )


def test_a_network_that_was_passed_as_an_object_is_needed_again(run_tiny, tiny_network, tmp_path):
    trained = run_tiny("run", rounds=1)
    assert trained.model().classes == ("a", "b", "c")
    with pytest.raises(InputError, match=r"was passed to train as an object \(StagedModel\): pass it again"):
        load_run(tmp_path / "run").model()
    with pytest.raises(InputError, match=r"model is a str, expected a torch\.nn\.Module"):
        load_run(tmp_path / "run", model="resnet-8").model()
    fresh = tiny_network()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    model = load_run(tmp_path / "run", model=fresh).model()
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_a_network_named_by_its_module_is_imported_only_if_it_may_be(tmp_path):
    config = TrainConfig(
        model="examples.own_network:by_hand", dataset="digits:size=8", max_train_images=40, clients=2, rounds=1
    )
    path = train(config, out=tmp_path / "run").folder.path
    with pytest.raises(InputError, match=r"names code to run.*--allow-plugin examples\.own_network"):
        load_run(path).model()
    assert load_run(path, allow_plugins=["examples.own_network"]).model().classes == TEST.classes


def test_another_network_than_the_weights_are_of_is_refused(run_tiny, tmp_path):
    run_tiny("run", rounds=1)
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(RunError, match=r"is of another network: .* in one of them only"):
        load_run(tmp_path / "run", model=other).model()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(2, 1, 9, 8), r"images have shape \(2, 1, 9, 8\), expected N x 1 x 8 x 8"),
        (torch.zeros(1, 8, 8), r"images have shape \(1, 8, 8\)"),
        (torch.full((1, 1, 8, 8), 200.0), r"images hold values from 200 to 200, expected \[0, 1\]"),
        (torch.full((1, 1, 8, 8), torch.nan), r"images hold values from nan to nan"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int64), "images are torch.int64, expected uint8"),
        ([[0.0]], "images are a list, expected a tensor"),
    ],
)
def test_inputs_that_are_no_such_images_are_refused(digits_run, images, said):
    with pytest.raises(InputError, match=said):
        digits_run.model()(images)


def test_a_network_for_tokens_takes_tokens_and_says_so_of_images(tmp_path):
    config = TrainConfig(
        dataset="sentences:train=40,test=20", model="transformer", clients=2, rounds=1, batch_size=8, device="cpu"
    )
    run = train(config, out=tmp_path / "run")
    test = load_sentences(train=40, test=20)
    predictions = run.predict(test.test_images)
    assert float((predictions.labels == test.test_labels.numpy()).mean()) == run.records[-1]["test_accuracy"]
    with pytest.raises(InputError, match="the network takes sequences of 16 tokens, not images: pass a tensor"):
        run.predict(tmp_path)


def test_without_the_best_rounds_network_that_is_said(digits_run):
    with pytest.raises(InputError, match="this run kept no best round's network; use the last round's"):
        digits_run.model("best")
    with pytest.raises(InputError, match="which 'first' is refused: expected last or best"):
        digits_run.model("first")
