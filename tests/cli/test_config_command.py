"""config show, and train with files that extend others and --set."""

import json
import tomllib

import pytest
from command_line import SMALL

from dtfl_private.experiments.config.train_config import TrainConfig


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Return value and source by key; of values without spaces."""
    found = [line.split(maxsplit=2) for line in text.splitlines()]
    return {parts[0]: (parts[1], parts[2].strip()) for parts in found if len(parts) == 3}


@pytest.fixture
def files(dtfl, tmp_path):
    (tmp_path / "base.toml").write_text("rounds = 5\nclients = 3\nlr = 0.1")
    (tmp_path / "a.toml").write_text('extends = "base.toml"\nclients = 7\ndownload = true')
    return dtfl


def test_each_value_is_shown_with_where_it_comes_from(files):
    answer = files("config", "show", "a.toml", "--set", "seed=3", "--wire", "int8", "--no-download")
    assert (answer.status, answer.err) == (0, "")
    found = rows(answer.out)
    assert found["rounds"] == ("5", "base.toml")
    assert found["clients"] == ("7", "a.toml")
    assert found["seed"] == ("3", "--set")
    assert found["wire"] == ("int8", "--wire")
    assert found["download"] == ("false", "--no-download")
    assert found["model"] == ("resnet-8", "default")
    assert found["workers"] == ("auto", "default of commands")
    assert {*found} >= {*TrainConfig.model_fields}


def test_only_what_differs_from_the_defaults_is_shown_if_asked(files):
    found = json.loads(files("config", "show", "a.toml", "--changed", "--lr", "0.001", "--json").out)
    assert found == {
        "download": {"value": True, "from": "a.toml"},
        "clients": {"value": 7, "from": "a.toml"},
        "rounds": {"value": 5, "from": "base.toml"},
        "workers": {"value": None, "from": "default of commands"},
    }


def test_as_toml_it_is_a_configuration_of_its_own(files, tmp_path):
    answer = files("config", "show", "a.toml", "--toml")
    values = tomllib.loads(answer.out)
    assert {*values} == {*TrainConfig.model_fields}
    (tmp_path / "whole.toml").write_text(answer.out)
    assert files("config", "show", "whole.toml", "--toml").out == answer.out
    assert {*tomllib.loads(files("config", "show", "a.toml", "--toml", "--changed").out)} == {
        *("download", "clients", "rounds", "lr", "workers"),
    }


def test_a_run_keeps_the_whole_configuration_and_shows_it(files, tmp_path):
    (tmp_path / "a.toml").write_text('extends = "base.toml"')
    options = [*SMALL[:2], *SMALL[2:6], "--set", "rounds=1", "--set", 'defense=["dropout:p=0.1", "identity"]']
    assert files("train", "a.toml", *options, "--batch-size", 8, "--out", "run").status == 0
    kept = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert {*kept} == {*TrainConfig.model_fields}
    assert (kept["rounds"], kept["lr"], kept["defense"]) == (1, 0.1, ["dropout:p=0.1", "identity"])
    found = rows(files("config", "show", "run").out)
    assert found["lr"] == ("0.1", "run/config.toml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("config show a.toml --rounds 3 --set rounds=3", "--set rounds=... and --rounds both say what 'rounds' is"),
        ("train --rounds 3 --set rounds=3", "--set rounds=... and --rounds both say what 'rounds' is"),
        ("train a.toml --set rounds=0", "rounds '0' is refused"),
        ("config show a.toml --json --toml", "--toml and --json contradict each other"),
        ("config show nowhere.toml", "configuration 'nowhere.toml' does not exist"),
        ("config show .", "'.' is not a run folder: it has no config.toml"),
        ("config sow", "unknown command of config 'sow': did you mean 'show'?"),
        ("config show --set defense=mine:Noise --defence x", "No such option"),
    ],
)
def test_wrong_input_is_answered_in_one_line(files, tmp_path, arguments, said):
    before = sorted(tmp_path.iterdir())
    answer = files(*arguments.split())
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_file_extends_may_not_name_code_and_what_is_set_may(files, tmp_path):
    (tmp_path / "base.toml").write_text('defense = ["mine:Noise"]')
    refused = files("train", "a.toml", "--rounds", 1, "--workers", 1)
    assert refused.status == 2
    assert "names code to run, and a file may not do that" in refused.err
    typed = files("train", "a.toml", "--workers", 1, "--set", "defense=mine:Noise")
    assert "no module 'mine'" in typed.err


def test_a_config_file_of_a_run_folder_extends_nothing(files, write_run, tmp_path):
    run = write_run(tmp_path / "run", [0.5])
    (run / "config.toml").write_text('extends = "base.toml"')
    (run / "base.toml").write_text("rounds = 3")
    answer = files("config", "show", "run")
    assert answer.status == 2
    assert "unknown key in run/config.toml: 'extends'" in answer.err


def test_without_a_command_its_help_is_shown(files):
    assert "show  Show the configuration that `train` would use" in files("config").out
