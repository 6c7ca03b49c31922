import pytest

from dtfl_private.deployed.server import opening
from dtfl_private.deployed.server.opening import open_run, require_deployable
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig


def test_a_cluster_computes_no_clients_of_a_deployed_run():
    require_deployable(TrainConfig(executor="local"))
    with pytest.raises(InputError, match=r"^executor ray:actors=2: clients of a deployed run compute where they are"):
        require_deployable(TrainConfig(executor="ray:actors=2"))


def test_a_server_loads_what_its_first_step_needs_before_clients_come(monkeypatch):
    order = []

    def load_dataset(*_, **__):
        order.append("data")
        raise InputError("enough")

    monkeypatch.setattr(opening, "load_optimizers", lambda: order.append("optimizers"))
    monkeypatch.setattr(opening, "load_dataset", load_dataset)
    with pytest.raises(InputError, match="enough"):
        open_run(TrainConfig())
    assert order == ["optimizers", "data"]
