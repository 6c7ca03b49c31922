"""The module `cost_tables` of this folder; the tables that a user sees have tests of that name."""

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.cost_tables import cut_tiers, defended_costs, tiers_in_use
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain


@pytest.mark.parametrize("values", [{"defense": ["tier-floor:4"]}, {"defense": ["tier-floor:3"], "allowed_tiers": [1]}])
def test_a_floor_that_leaves_only_the_whole_network_is_refused(run_tiny, tmp_path, values):
    with pytest.raises(InputError, match=r"tier floor . leaves only the tier of the whole network: .* --method fedavg"):
        run_tiny("run", method="dtfl-full", **values)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({}, [1, 2, 3, 4]),
        ({"tiers": 2}, [3, 4]),
        ({"allowed_tiers": [1, 3]}, [1, 3]),
        ({"tiers": 3, "allowed_tiers": [1, 2, 4]}, [2, 4]),
    ],
)
def test_tiers_in_use_are_the_deepest_and_of_these_the_allowed(four_tiers, tiny_config, values, left):
    assert tiers_in_use(four_tiers, tiny_config(**values), "a network").tiers_M.tolist() == left


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tiers": 5}, "tiers 5 is above what resnet-8 has: its 5 modules make 4 tiers"),
        ({"allowed_tiers": [1, 5]}, "allowed tier 5 does not exist: the tiers of resnet-8 are 1..4"),
        ({"allowed_tiers": [1, 2], "tiers": 2}, "allowed tiers 1..2 are none of the 2 deepest, 3..4"),
    ],
)
def test_tiers_that_are_not_there_are_refused(four_tiers, tiny_config, values, said):
    with pytest.raises(InputError, match=said):
        tiers_in_use(four_tiers, tiny_config(**values), "resnet-8")


def test_defenses_add_their_work_and_methods_without_tiers_keep_them_all(four_tiers, tiny_config):
    def costs(*defenses, **values):
        config = tiny_config(tiers=2, **values)
        method, chain = make_method(config.method), DefenseChain([create("defense", text) for text in defenses])
        return defended_costs(config, method, four_tiers, Numerics(), 10, "resnet-8", chain, (3, 32, 32))

    plain, packed = costs(), costs("top-k:share=0.1")
    assert plain.tiers_M.tolist() == [3, 4]
    assert (packed.column("smashed_bytes") < plain.column("smashed_bytes")).all()
    assert costs("tier-floor:modules=4").tiers_M.tolist() == [4]
    whole = costs(method="dtfl-full")
    assert whole.tiers_M.tolist() == [3, 4, 5]
    assert cut_tiers(whole, four_tiers) == [3, 4]
