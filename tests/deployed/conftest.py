"""A project for a run of three clients, made once."""

from datetime import UTC, datetime

import pytest

from dtfl_private.deployed.project.init import make_project
from dtfl_private.deployed.project.layout import ProjectFolder
from dtfl_private.experiments.config.train_config import TrainConfig


@pytest.fixture(scope="session")
def now() -> datetime:
    """The time at which projects are made: that of the machine, by which TLS judges their certificates."""
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def project(tmp_path_factory, now) -> ProjectFolder:
    """Return a project that is to be read only."""
    path = tmp_path_factory.mktemp("deployed") / "hospitals"
    return make_project(path, TrainConfig(clients=3), names=["FL.example.org", "192.0.2.7"], now=now).folder


@pytest.fixture(scope="session")
def other_project(tmp_path_factory, now) -> ProjectFolder:
    """Return another project of the same name and server."""
    path = tmp_path_factory.mktemp("other") / "hospitals"
    return make_project(path, TrainConfig(clients=1), names=["fl.example.org"], now=now).folder
