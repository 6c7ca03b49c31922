from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dtfl_private.data.partition import deal_out
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.errors import choices_of
from dtfl_private.experiments.config.files import read_toml, to_toml
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.simulation.clients.profiles import ResourceProfile

# A value for every field, none the default.
OTHER: Mapping[str, Any] = {
    "dataset": "fashion-mnist",
    "data_dir": Path("some/folder"),
    "download": True,
    "max_train_images": 500,
    "normalization": "constants:mean=0.1/0.25,std=0.5",
    "augment": ["flip", "crop"],
    "partition": "dirichlet:0.3",
    "model": "resnet-20",
    "norm": "group",
    "method": "object:Mine",
    "scheduler": "static:2",
    "tiers": 3,
    "allowed_tiers": [1, 3],
    "first_tier": "middle",
    "ema": 0.1,
    "clients": 7,
    "fraction": 1 / 3,
    "rounds": 11,
    "target_accuracy": 0.85,
    "stop_at_target": True,
    "record_rounds": [2, "last"],
    "record_clients": [0, 3],
    "record_images": 100,
    "batch_size": 50,
    "local_epochs": 2,
    "optimizer": "sgd",
    "lr": 3e-05,
    "lr_decay": 0.5,
    "lr_patience": 3,
    "weight_decay": 5e-4,
    "momentum": 0.9,
    "profiles": [ResourceProfile(name='a "b" ä', cpus=0.1, up_mbit_s=5, down_mbit_s=7, latency_ms=40, share=2)],
    "link_unit": "mbyte",
    "cpu_gmacs": 2.5,
    "drift_share": 0.3,
    "drift_every": 20,
    "noise": 0.2,
    "profile_error": 0.1,
    "dropout": 0.01,
    "absent": 0.02,
    "leave": 0.03,
    "join": 0.04,
    "server_workers": 4,
    "server_cpus": 2.0,
    "defense": ["identity", "identity"],
    "leakage_budget": "a:b/c,d.json:metric=mse,min=0.02",
    "on_budget": "stop",
    "device": "cpu",
    "precision": "bf16",
    "memory_format": "contiguous",
    "workers": 3,
    "seed": 2**63 - 1,
}


def through_toml(config: TrainConfig, folder: Path) -> TrainConfig:
    file = folder / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    return make_config(read_toml(file), str(file))


def test_the_other_configuration_differs_from_the_default_in_every_field():
    config, default = make_config(OTHER), TrainConfig()
    for name in TrainConfig.model_fields:
        assert getattr(config, name) == OTHER[name] != getattr(default, name), name


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


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rounds", "7", 7),
        ("lr", "1e-2", 0.01),
        ("download", "true", True),
        ("data_dir", "a/b", Path("a/b")),
        ("data_dir", "none", None),
        ("max_train_images", "none", None),
        ("max_train_images", "100", 100),
        ("target_accuracy", "none", None),
        ("tiers", "none", None),
        ("workers", "none", None),
        ("workers", "auto", None),
        ("augment", "crop, flip", ["crop", "flip"]),
        ("augment", "cutout", ["cutout"]),
        ("augment", "", []),
        ("defense", "identity", ["identity"]),
        ("defense", ("Identity", "identity"), ["identity", "identity"]),
        ("dataset", "Fashion_MNIST", "fashion-mnist"),
        ("model", "ResNet8", "resnet-8"),
        ("partition", "Dirichlet:alpha=0.1", "dirichlet:alpha=0.1"),
        ("scheduler", "STATIC:3", "static:3"),
        ("method", "object:Mine", "object:Mine"),
    ],
)
def test_options_are_converted_and_names_spelled_as_registered(name: str, text: object, value: object):
    assert getattr(make_config({name: text}), name) == value


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


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"unknown key in option 'bach_size': did you mean 'batch_size'\?"):
        make_config({"bach_size": 3})


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", 0),
        ("rounds", 2.5),
        ("rounds", "ten"),
        ("rounds", None),
        ("clients", 0),
        ("tiers", 0),
        ("workers", 0),
        ("batch_size", 1),
        ("local_epochs", 0),
        ("max_train_images", 0),
        ("target_accuracy", 0),
        ("target_accuracy", 1.01),
        ("lr", -0.1),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr_decay", 0),
        ("lr_decay", 1.5),
        ("lr_patience", 0),
        ("weight_decay", -1e-4),
        ("momentum", 1),
        ("momentum", -0.1),
        ("ema", 0),
        ("ema", 1.1),
        ("fraction", 0),
        ("fraction", 1.1),
        ("fraction", float("nan")),
        ("cpu_gmacs", 0),
        ("drift_share", 1.1),
        ("drift_every", 0),
        ("noise", -0.1),
        ("noise", float("inf")),
        ("profile_error", -0.1),
        ("profile_error", 2.5),
        ("dropout", 1.1),
        ("absent", -0.1),
        ("leave", 2),
        ("join", float("nan")),
        ("server_workers", 0),
        ("server_cpus", 0),
        ("seed", -1),
        ("download", "maybe"),
        ("data_dir", 3),
        ("dataset", 3),
        ("defense", [3]),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(name: str, value: object):
    with pytest.raises(InputError, match=rf"^{name}\b.*is refused: ") as refused:
        make_config({name: value})
    shown = value[0] if isinstance(value, list) else value
    assert f" {shown!r} is refused" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("dataset", "digit", "digits"),
        ("dataset", "fashion", "fashion-mnist"),
        ("model", "resnet-9", "resnet-8"),
        ("partition", "dirichlett:0.5", "dirichlet"),
        ("method", "dtlf", "dtfl"),
        ("scheduler", "dynamite", "dynamic"),
        ("defense", "identiti", "identity"),
        ("norm", "groups", "group"),
        ("first_tier", "deep", "deepest"),
        ("optimizer", "Adam", "adam"),
        ("link_unit", "mbits", "mbit"),
        ("device", "cud", "cuda"),
        ("precision", "fp23", "fp32"),
        ("memory_format", "channels_last", "channels-last"),
        ("augment", "crop,flop", "flip"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, value: str, nearest: str):
    with pytest.raises(InputError, match=rf"unknown {name} '.*': did you mean '{nearest}'\? known: ") as refused:
        make_config({name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("alpha", ["0", "-1", "nan", "inf", "half"])
def test_a_concentration_that_is_not_positive_is_refused(alpha: str):
    config = make_config({"partition": f"dirichlet:{alpha}"})
    with pytest.raises(InputError, match=f"partition 'dirichlet': alpha={alpha} is refused"):
        deal_out(config.partition, np.arange(20) % 2, 4, np.random.default_rng(0))


@pytest.mark.parametrize("name", TrainConfig.model_fields)
def test_every_field_can_be_an_option_with_help_under_a_heading(name: str):
    field = TrainConfig.model_fields[name]
    assert field.description
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["group"] in (
        "Data",
        "Model",
        "Federation",
        "Training",
        "Environment",
        "Privacy",
        "Recording",
        "Machine",
    )


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().rounds = 3


def test_fixed_choices_are_found_behind_optional_and_list_types():
    fields = TrainConfig.model_fields
    assert choices_of(fields["optimizer"].annotation) == ("adam", "sgd")
    assert choices_of(fields["augment"].annotation) == ("crop", "flip", "cutout")
    assert choices_of(fields["rounds"].annotation) == ()
    assert choices_of(fields["data_dir"].annotation) == ()


def test_automatic_norm_is_batch_norm_and_a_named_one_itself():
    assert [resolved_norm(make_config({"norm": norm})) for norm in ("auto", "batch", "group")] == [
        "batch",
        "batch",
        "group",
    ]


PROFILE = {"name": "a", "cpus": 1, "up_mbit_s": 1, "down_mbit_s": 1}


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (PROFILE | {"cpu": 1}, "unknown key in option 'cpu': did you mean 'cpus'?"),
        (PROFILE | {"cpus": -1}, "profiles.0.cpus -1 is refused"),
        ({"name": "a", "cpus": 1, "up_mbit_s": 1}, "profiles.0.down_mbit_s is refused: field required"),
    ],
)
def test_an_error_in_a_profile_table_names_the_key(profile: dict[str, object], message: str):
    with pytest.raises(InputError) as refused:
        make_config({"profiles": [profile]})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", ["rounds", "lr", "workers", "dataset"])
def test_true_is_no_number_and_no_name(name: str):
    with pytest.raises(InputError, match=rf"^{name} True is refused: true and false are no value here"):
        make_config({name: True})


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "seed = " + "9" * 5_000])
def test_toml_without_end_is_refused(tmp_path: Path, text: str):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path / "c.toml")


def test_a_configuration_does_not_differ_from_itself():
    assert differences(make_config(OTHER), make_config(OTHER)) == []


def test_differences_name_the_key_the_old_and_the_new_value():
    old, new = make_config({"rounds": 5, "lr": 0.1}), make_config({"rounds": 6, "lr": 0.2})
    assert differences(new, old) == ["rounds: 5 -> 6", "lr: 0.1 -> 0.2"]


def test_a_resume_may_change_what_does_not_change_the_result_and_nothing_else():
    old, new = make_config({"workers": 1}), make_config({"workers": 2, "data_dir": "elsewhere", "download": True})
    assert differences(new, old) == []
    assert differences(new, old, free=("data_dir", "download")) == ["workers: 1 -> 2"]
    every = {line.partition(":")[0] for line in differences(make_config(OTHER), TrainConfig())}
    assert every == TrainConfig.model_fields.keys() - {"workers", "data_dir", "download"}
