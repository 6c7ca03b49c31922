import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.train import train


def test_methods_that_no_attack_can_read_are_not_recorded(tiny_config, objects, tmp_path):
    with pytest.raises(InputError, match="record_rounds keeps what clients send of single records"):
        train(tiny_config(method="fedavg", record_rounds=["last"]), out=tmp_path / "run", **objects)
    assert not (tmp_path / "run").exists()
