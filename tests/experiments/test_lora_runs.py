"""A run with adapters: what its folder holds, how it goes on, and what can be done with it; never with another base."""

import shutil
import warnings

import pytest
import torch
from interrupted_runs import Notes, left_behind
from safetensors.torch import load_file

from dtfl_private.deployed.client.joining import OwnSide, agreed_config
from dtfl_private.deployed.server.opening import open_run
from dtfl_private.deployed.wire.kinds import Welcome
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.train import train
from dtfl_private.plugins.specification import parse
from tests.checkpoints import changed, checkpoint


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    checkpoint(folder, "bert", vocab_size=256, max_position_embeddings=64)
    return folder


@pytest.fixture(scope="module")
def config(base):
    settings = {
        "dataset": "sentences:train=40,test=8",
        "model": f"pretrained:path={base},cuts=all,lora=2",
        "clients": 2,
    }
    settings |= {"rounds": 2, "batch_size": 16, "device": "cpu", "workers": 1, "scheduler": "random"}
    return TrainConfig.model_validate(settings)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return train(config, out=tmp_path_factory.mktemp("lora") / "run")


def test_the_folder_holds_adapters_heads_and_the_name_of_their_base(run):
    for file in (run.folder.model, *run.folder.checkpoint.glob("round-000002/*.safetensors")):
        names = {name.removeprefix("model/") for name in load_file(file)}
        network = {name for name in names if name.startswith("md")}
        assert len(network) == 2 * 2 * 2 + 2
        assert all(".lora_" in name or name.startswith("md4.fc.") for name in network)
    settings = parse("model", run.config.model).settings
    assert (settings["lora"], settings["lora_alpha"], settings["lora_targets"]) == ("2", "4.0", "attention")
    assert len(settings["base"]) == 64
    begun, ended = prepare(run.config).initial.weights.model, load_file(run.folder.model)
    assert all(not torch.equal(begun[name], tensor) for name, tensor in ended.items())


def test_an_interrupted_run_ends_as_one_that_was_not(run, config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "run", callbacks=[Notes(("finished", 1))])
    train(out=tmp_path / "run", resume=True)
    assert left_behind(tmp_path / "run") == left_behind(run.folder.path)


def test_the_network_is_that_of_the_last_round_wherever_it_is_used(run):
    tokens = prepare(run.config).worker.test_images
    model = run.model()
    with torch.no_grad():
        expected = model(tokens)
    assert run.summary["last_round"]["test_accuracy"] == pytest.approx(
        float((expected.argmax(dim=1) == prepare(run.config).worker.test_labels).float().mean())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit's own, of its deprecation
        exported = torch.jit.load(run.export("torchscript"))
    torch.testing.assert_close(exported(tokens.long()), expected, rtol=0, atol=1e-5)


def test_neither_resume_nor_prediction_takes_another_base(run, base, tmp_path):
    folder = shutil.copytree(run.folder.path, tmp_path / "run")
    kept = shutil.copytree(base, tmp_path / "kept")
    try:
        changed(base, layer_norm_eps=1e-5)
        for use in (lambda: train(out=folder, resume=True), lambda: load_run(folder).model()):
            with pytest.raises(
                InputError, match="holds another checkpoint than the one whose frozen weights are needed"
            ):
                use()
        again = run.config.model_copy(update={"model": f"pretrained:path={base},cuts=all,lora=2"})
        with pytest.raises(InputError, match=r"run folder '.*' has another configuration \(model:? "):
            train(again, out=folder, resume=True)
    finally:
        shutil.copytree(kept, base, dirs_exist_ok=True)


def test_clients_of_a_deployed_run_must_have_its_base(config, base, tmp_path):
    agreed = open_run(config).agreed
    welcome = Welcome(
        session=1, run="r", client=0, config=agreed, config_sha256="0" * 64, largest=1, classes=(), input_shape=()
    )
    own = {"images": lambda *_: None, "store": tmp_path}
    there = shutil.copytree(base, tmp_path / "bert")
    mine = agreed_config(OwnSide(**own, checkpoint=there), welcome)
    assert parse("model", mine.model).settings["path"] == str(there)
    prepare(mine)
    changed(there, layer_norm_eps=1e-5)
    with pytest.raises(InputError, match=f"{there} holds another checkpoint"):
        prepare(agreed_config(OwnSide(**own, checkpoint=there), welcome))
