from every_field import OTHER

from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


def test_a_configuration_does_not_differ_from_itself():
    assert differences(make_config(OTHER), make_config(OTHER)) == []


def test_differences_name_the_key_the_old_and_the_new_value():
    old, new = make_config({"rounds": 5, "lr": 0.1}), make_config({"rounds": 6, "lr": 0.2})
    assert differences(new, old) == ["rounds: 5 -> 6", "lr: 0.1 -> 0.2"]


def test_a_resume_may_change_what_does_not_change_the_result_and_nothing_else():
    old, new = (
        make_config({"workers": 1}),
        make_config({"workers": 2, "data_dir": "elsewhere", "download": True, "executor": "ray"}),
    )
    assert differences(new, old) == []
    assert differences(new, old, free=("data_dir", "download", "executor")) == ["workers: 1 -> 2"]
    every = {line.partition(":")[0] for line in differences(make_config(OTHER), TrainConfig())}
    assert every == TrainConfig.model_fields.keys() - {"workers", "executor", "data_dir", "download"}
