import numpy as np
import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_plugins import make_chain, make_method
from dtfl_private.experiments.setup.privacy_settings import calibrated, privacy_settings, states_guarantees

IMAGES_K = np.array([14, 13, 13])
PRIVATE = "dp-weights:noise_multiplier=1"


@pytest.fixture
def settled(tiny_config):
    """Return what clients release and have spent at the start of a tiny run: ``settled(*defenses, **settings)``."""

    def settle(*defenses, **values):
        config = tiny_config(defense=list(defenses), **values)
        chain = calibrated(config, make_chain(config), 3, IMAGES_K)
        return privacy_settings(config, make_method(config.method), chain, IMAGES_K)

    return settle


def test_only_what_states_a_guarantee_is_accounted_for(settled, tiny_config):
    assert not states_guarantees(make_chain(tiny_config(defense=["gaussian-noise:sd=1.0"])))
    assert states_guarantees(make_chain(tiny_config(defense=[PRIVATE])))
    assert settled("gaussian-noise:sd=1.0")[1] == {}
    assert settled(PRIVATE)[1] == {0: (), 1: (), 2: ()}


def test_what_is_spent_depends_on_how_the_run_trains(settled):
    privacy, _ = settled(PRIVATE, batch_size=7, local_epochs=2, on_budget="stop", method="dtfl-full")
    assert (privacy.batch_size, privacy.local_epochs, privacy.on_budget) == (7, 2, "stop")
    assert privacy.full_tier
    assert privacy.images_K.tolist() == [14, 13, 13]


def test_a_budget_below_one_round_is_refused(settled):
    with pytest.raises(InputError, match=r"not a single round is within the privacy budget .*: raise epsilon"):
        settled(f"{PRIVATE},epsilon=0.01")
