from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from every_field import OTHER
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


def through_toml(config: TrainConfig, folder: Path) -> TrainConfig:
    file = folder / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    return make_config(read_toml(file), str(file))


@pytest.mark.parametrize("values", [{}, OTHER], ids=["default", "other"])
def test_a_configuration_survives_toml(values: Mapping[str, Any], tmp_path: Path):
    config = make_config(values)
    assert through_toml(config, tmp_path) == config


def test_toml_holds_every_value(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text(to_toml(TrainConfig()))
    assert read_toml(file).keys() == TrainConfig.model_fields.keys()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False), st.floats(0, 1, exclude_min=True), st.text())
def test_numbers_and_names_survive_toml_exactly(tmp_path_factory: Any, lr: float, share: float, name: str):
    profile = {"name": name, "cpus": 1 + share, "up_mbit_s": 1, "down_mbit_s": 1}
    config = make_config({"lr": lr, "fraction": share, "ema": share, "profiles": [profile]})
    assert through_toml(config, tmp_path_factory.getbasetemp()) == config


def test_keys_may_be_written_with_hyphens(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text("batch-size = 64\nLocal_Epochs = 2\n")
    assert read_toml(file) == {"batch_size": 64, "local_epochs": 2}


def test_one_key_in_two_spellings_is_refused(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text("batch-size = 64\nbatch_size = 32\n")
    with pytest.raises(InputError, match="gives 'batch_size' twice"):
        read_toml(file)


def test_an_unknown_key_in_a_file_is_refused_with_the_nearest_name(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text("rouns = 3\n")
    with pytest.raises(InputError, match=r"unknown key in .*config\.toml: 'rouns': did you mean 'rounds'\?"):
        read_toml(file)


@pytest.mark.parametrize(
    ("content", "said"), [(b"rounds = \n", "cannot be read"), (b"\xff\xfe", "cannot be read"), (None, "does not exist")]
)
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None, said: str):
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_toml(file)


def test_a_folder_is_no_configuration(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "seed = " + "9" * 5_000])
def test_toml_without_end_is_refused(tmp_path: Path, text: str):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path / "c.toml")


@pytest.mark.parametrize("key", ["executor", "Executor"])
def test_a_file_does_not_say_where_code_and_data_of_the_run_go(tmp_path, key):
    file = tmp_path / "config.toml"
    file.write_text(f'{key} = "ray:gpus=0.5"')
    assert read_toml(file) == {"executor": "ray:gpus=0.5"}
    file.write_text(f'{key} = "ray:address=8.8.8.8:6379"')
    for read in (read_toml, file_layers):
        with pytest.raises(InputError, match=r"config.toml: executor 'ray:address=8.8.8.8:6379' names a cluster"):
            read(file)
