from typing import ClassVar

import numpy as np
import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.train import train
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.messages import Transcript


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"defenses": ["identity"]}, "defense 'identity' is a str, expected an object of a subclass of dtfl"),
        ({"model": [1, 2]}, "model is a list, expected a Module"),
        ({"dataset": [1, 2]}, r"training item 0 is no \(image, label\), or cannot be read: TypeError"),
        ({"dataset": "digits"}, r"the training data are a str, expected \(images, labels\) as arrays, a torch"),
    ],
)
def test_objects_that_are_no_plugins_are_refused(run_tiny, tmp_path, objects, message):
    with pytest.raises(InputError, match=message):
        run_tiny(tmp_path / "run", objects=objects)
    assert not any(tmp_path.iterdir())


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
