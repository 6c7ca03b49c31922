import pytest

from dtfl_private.deployed.deployable import require_deployable
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig


def test_a_cluster_computes_no_clients_of_a_deployed_run():
    require_deployable(TrainConfig(executor="local"))
    with pytest.raises(InputError, match=r"^executor ray:actors=2: clients of a deployed run compute where they are"):
        require_deployable(TrainConfig(executor="ray:actors=2"))


def test_a_rate_that_no_client_takes_is_refused_before_any_has_come():
    require_deployable(TrainConfig(lr=100.0))
    with pytest.raises(InputError, match=r"^lr 101 cannot be deployed: clients take 100 at most$"):
        require_deployable(TrainConfig(lr=101.0))
