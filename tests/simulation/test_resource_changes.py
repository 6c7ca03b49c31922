import numpy as np
import pytest

from dtfl_private.simulation.estimates import History, Observation, observe
from dtfl_private.simulation.resource_changes import LARGE, Changes, factors


def seen(clients, seconds, *, column=0, up=1e6, down=1e6):
    count = len(clients)
    return Observation(
        clients_P=np.array(clients),
        column_P=np.full(count, column),
        seconds_P=np.array(seconds),
        up_bytes_s_P=np.full(count, up),
        down_bytes_s_P=np.full(count, down),
        latency_s_P=np.zeros(count),
    )


@pytest.fixture
def known(four_tiers) -> History:
    """Clients 0 to 2 took a second per image in tier 1; client 3 was never measured."""
    return observe(History.empty(4, 4), seen([0, 1, 2], [1.0, 1.0, 1.0]), four_tiers.tiers_M, beta=0.1)


def test_a_factor_is_that_of_the_least_equal_resource_and_of_known_clients_alone(four_tiers, known):
    assert factors(known, seen([0, 1, 3], [1.0, 4.0, 9.0]), four_tiers) == pytest.approx([1.0, 4.0])
    assert factors(known, seen([0, 1], [0.5, 0.2]), four_tiers) == pytest.approx([2.0, 5.0])
    assert factors(known, seen([0], [0.5], up=2e5), four_tiers) == pytest.approx([5.0])
    assert factors(known, seen([0], [0.5], down=4e6), four_tiers) == pytest.approx([4.0])


def test_another_tier_is_no_change(four_tiers, known):
    macs = four_tiers.column("client_train_macs")
    deeper = seen([0, 1], [macs[3] / macs[0], 2 * macs[3] / macs[0]], column=3)
    assert factors(known, deeper, four_tiers) == pytest.approx([1.0, 2.0])


def test_one_change_is_counted_once_however_slow_the_moving_average(four_tiers, known):
    changes, history = Changes(), known
    for seconds in (1.0, 10.0, 10.0, 10.0, 1.0, 1.0):
        measured = seen([0], [seconds])
        changes = changes.learn(factors(history, measured, four_tiers))
        history = observe(history, measured, four_tiers.tiers_M, beta=0.1)
    assert changes == Changes(changed=2, measured=6)


def test_the_rate_is_the_papers_until_clients_change():
    unknown = Changes()
    assert unknown.rate == 0.3 / 50
    quiet = unknown.learn(np.full(50, LARGE - 0.01))
    assert quiet.rate == 0.3 / 100
    assert quiet.learn(np.array([LARGE, 10.0, 1.0])).rate == 2.3 / 103
    assert 0.9 < unknown.learn(np.full(1000, 99.0)).rate < 1
