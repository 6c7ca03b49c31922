import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_parts import named_parts
from dtfl_private.experiments.setup.network import build_network
from dtfl_private.experiments.setup.run_objects import RunObjects


@pytest.fixture
def build(tiny_config, patterns):
    """Build the network of a tiny run: ``build(given=None, **settings)``."""

    def network(given=None, **values):
        config = tiny_config(**values)
        return build_network(config, given, named_parts(config, RunObjects(model=given)), patterns)

    return network


def test_a_given_network_is_used_with_a_row_of_costs_for_each_tier(build, tiny_network):
    given = tiny_network()
    built = build(given, model="resnet-8")
    assert built.model is given
    assert built.name == "object:StagedModel"
    assert built.table.tiers_M.tolist() == [1, 2, 3]


def test_a_named_network_is_made_for_the_data_with_the_norm_of_the_run(build):
    built = build(model="resnet-8", norm="group")
    assert built.name == "resnet-8"
    kinds = {type(module).__name__ for module in built.model.modules()}
    assert "GroupNorm" in kinds
    assert "BatchNorm2d" not in kinds


def test_a_network_that_a_defense_cannot_protect_is_refused(build, tiny_network):
    with pytest.raises(InputError, match="dp-weights"):
        build(tiny_network(), defense=["dp-weights:noise_multiplier=1"])  # it has batch norm
