import numpy as np
import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_plugins import make_chain, make_method
from dtfl_private.experiments.setup.schedule_settings import environment_settings, method_schedule
from dtfl_private.simulation.schedulers.baseline_schedulers import Random, Static
from dtfl_private.simulation.schedulers.dynamic import Dynamic

IMAGES_K = np.array([14, 13, 13])
ABSENCES = {"dropout": 0.1, "absent": 0.2, "leave": 0.3, "join": 0.4}


@pytest.fixture
def schedule(tiny_config, four_tiers):
    """Return the schedule of a run on the made-up table of costs: ``schedule(scheduler=None, **settings)``."""

    def settle(given=None, **values):
        config = tiny_config(**values)
        return method_schedule(config, make_method(config.method), four_tiers, given, IMAGES_K, make_chain(config))

    return settle


def test_units_are_those_of_the_simulation(schedule, tiny_config):
    settings = schedule(cpu_gmacs=2.5, server_workers=7, server_cpus=3.0)
    assert (settings.cpu_macs_per_s, settings.server.workers, settings.server.cpus) == (2.5e9, 7, 3.0)
    environment = environment_settings(tiny_config(**ABSENCES))
    assert {name: getattr(environment, name) for name in ABSENCES} == ABSENCES


def test_the_scheduler_is_the_given_one_or_else_the_named(schedule):
    given = Dynamic()
    assert schedule(given).scheduler is given
    assert isinstance(schedule().scheduler, Random)
    without_tiers = schedule(method="fedavg").scheduler
    assert isinstance(without_tiers, Static)
    with pytest.raises(InputError, match="method fedavg has no tiers to schedule: leave the scheduler out"):
        schedule(given, method="fedavg")


def test_one_place_with_all_images_is_always_there(schedule):
    environment = schedule(method="centralised", **ABSENCES).environment
    assert environment.clients == 1
    assert (environment.dropout, environment.absent, environment.leave) == (0, 0, 0)
    assert schedule(method="fedavg", **ABSENCES).environment.dropout == 0.1


def test_clients_whose_defenses_release_apart_train_first(schedule):
    assert not schedule(defense=["gaussian-noise:sd=1.0"]).timing.trains_first
    assert schedule(defense=["dp-weights:noise_multiplier=1"]).timing.trains_first
    with pytest.raises(InputError, match=r"method splitfed-v1 has a time model of its own \(BatchByBatch\)"):
        schedule(method="splitfed-v1", defense=["dp-weights:noise_multiplier=1"])
