"""What a client takes of the configuration that a server sends."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dtfl_private.deployed.client.joining import agreed_config, asked_of_clients
from dtfl_private.deployed.server.opening import REAL_CLIENT
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.setup.prepare import prepare


def sent(**values: Any) -> Any:
    return SimpleNamespace(config=to_toml(make_config({"clients": 2, **values}, "test")))


def joining(**values: Any) -> Any:
    return SimpleNamespace(**{"device": "cpu", "defenses": (), "checkpoint": None, **values})


def test_a_server_names_no_folder_of_the_client_and_downloads_nothing():
    config = agreed_config(joining(), sent(data_dir="/somewhere/private", download=True, record_rounds=["last"]))
    assert (config.data_dir, config.download, config.record_rounds) == (None, False, [])


def test_a_server_names_no_file_of_profiles_either(tmp_path):
    (tmp_path / "mine.toml").write_text("not for the server")
    text = sent(max_train_images=20).config.replace('profiles = "paper"', f'profiles = "{tmp_path / "mine.toml"}"')
    assert "mine.toml" in text
    assert agreed_config(joining(), SimpleNamespace(config=text)).profiles == [REAL_CLIENT]


def test_more_clients_than_a_project_has_are_refused_before_anything_is_made_for_them():
    with pytest.raises(InputError, match="1,000,000,000 clients cannot be deployed: a run has at most 1,000"):
        agreed_config(joining(), sent(clients=10**9))


def test_defenses_of_the_client_come_after_those_of_the_run():
    config = agreed_config(joining(defenses=("dropout",)), sent(defense=["gaussian-noise"]))
    assert config.defense == ["gaussian-noise", "dropout"]


def test_defenses_of_the_client_do_not_make_the_network_another_one_than_the_servers():
    dp = joining(defenses=("dp-activations",))
    config = agreed_config(dp, sent(max_train_images=20))
    with pytest.raises(InputError, match=r"dp-activations .*group"):
        prepare(config)
    for theirs in ({"norm": "group"}, {"defense": ["dp-weights"]}):
        assert agreed_config(dp, sent(**theirs)).norm == "group"


def test_a_checkpoint_is_where_the_client_has_it():
    theirs = sent(model="pretrained:path=/theirs,lora=4")
    assert agreed_config(joining(), theirs).model == "pretrained:path=/theirs,lora=4"
    config = agreed_config(joining(checkpoint=Path("/mine")), theirs)
    assert config.model == "pretrained:path=/mine,lora=4"
    with pytest.raises(InputError, match="network resnet-8 is from no checkpoint: leave --checkpoint out"):
        agreed_config(joining(checkpoint=Path("/mine")), sent(model="resnet-8"))
    with pytest.raises(InputError, match="--checkpoint '/a,b' has a comma"):
        agreed_config(joining(checkpoint=Path("/a,b")), theirs)


@pytest.mark.parametrize("key", ["model", "scheduler", "defense"])
def test_code_that_a_server_names_is_not_run(key):
    named = {"model": 'model = "resnet-8"', "scheduler": 'scheduler = "dynamic"', "defense": "defense = []"}[key]
    code = f'{key} = ["os:system"]' if key == "defense" else f'{key} = "os:system"'
    text = sent(max_train_images=20).config.replace(named, code)
    assert "os:system" in text
    config = agreed_config(joining(), SimpleNamespace(config=text))
    with pytest.raises(InputError, match="os:system"):
        prepare(config)


def test_methods_that_cannot_be_deployed_are_refused_at_the_client_too():
    with pytest.raises(InputError, match="method fedavg cannot be deployed yet"):
        agreed_config(joining(), sent(method="fedavg"))


def test_the_operator_is_told_what_is_asked():
    line = asked_of_clients(sent(defense=["gaussian-noise:sd=2", "dropout:p=0\nall is well\x1b[2J"], rounds=7))
    assert line.isprintable()  # one line, whatever stands in it
    assert "dtfl, resnet-8, 7 rounds" in line
    assert "gaussian-noise:sd=2" in line
    assert str(Path("/")) not in line
