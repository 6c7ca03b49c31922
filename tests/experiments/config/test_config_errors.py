import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.config_errors import choices_of
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"unknown key in option 'bach_size': did you mean 'batch_size'\?"):
        make_config({"bach_size": 3})


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


def test_fixed_choices_are_found_behind_optional_and_list_types():
    fields = TrainConfig.model_fields
    assert choices_of(fields["optimizer"].annotation) == ("adam", "sgd")
    assert choices_of(fields["augment"].annotation) == ("crop", "flip", "cutout")
    assert choices_of(fields["rounds"].annotation) == ()
    assert choices_of(fields["data_dir"].annotation) == ()


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
