import numpy as np
import pytest

from dtfl_private.tiers.changes import PRIOR_CHANGES, PRIOR_MEASUREMENTS, SLOWER, Changes, slowdown
from dtfl_private.tiers.estimates import History, Observation, observe


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
    return observe(History.empty(4, 4), seen([0, 1, 2], [1.0, 1.0, 1.0]), four_tiers.tiers_M, beta=1.0)


def test_a_slowdown_is_that_of_the_worst_resource_and_of_known_clients_alone(four_tiers, known):
    assert slowdown(known, seen([0, 1, 3], [1.0, 4.0, 9.0]), four_tiers).tolist() == [1.0, 4.0]
    assert slowdown(known, seen([0], [0.5], up=2e5), four_tiers).tolist() == [5.0]
    assert slowdown(known, seen([0], [0.5], down=2.5e5), four_tiers).tolist() == [4.0]


def test_another_tier_is_no_slowdown(four_tiers, known):
    macs = four_tiers.column("client_train_macs")
    deeper = seen([0, 1], [macs[3] / macs[0], 2 * macs[3] / macs[0]], column=3)
    assert slowdown(known, deeper, four_tiers) == pytest.approx([1.0, 2.0])


def test_the_rate_is_the_prior_until_clients_turn_slow():
    unknown = Changes()
    assert unknown.rate == PRIOR_CHANGES / PRIOR_MEASUREMENTS == 0.02
    quiet = unknown.learn(np.full(50, SLOWER - 0.01))
    assert quiet.rate == PRIOR_CHANGES / (PRIOR_MEASUREMENTS + 50)
    assert quiet.learn(np.array([SLOWER, 10.0, 1.0])).rate == (PRIOR_CHANGES + 4) / (PRIOR_MEASUREMENTS + 53)
    assert unknown.learn(np.full(1000, 99.0)).rate == 1.0
