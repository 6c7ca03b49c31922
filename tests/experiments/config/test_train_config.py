import numpy as np
import pytest
from every_field import OTHER
from pydantic import ValidationError

from dtfl_private.data.partition import deal_out
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


def test_the_other_configuration_differs_from_the_default_in_every_field():
    config, default = make_config(OTHER), TrainConfig()
    for name in TrainConfig.model_fields:
        assert getattr(config, name) == OTHER[name] != getattr(default, name), name


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
