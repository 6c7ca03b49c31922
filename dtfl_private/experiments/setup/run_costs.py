"""What the tiers of a run cost: those that its budget leaves, with what method and defenses add."""

from dataclasses import dataclass

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.cost_tables import defended_costs
from dtfl_private.experiments.setup.exposure_by_audit import with_leakage
from dtfl_private.experiments.setup.loaded_inputs import RunInputs
from dtfl_private.experiments.setup.named_parts import NamedParts
from dtfl_private.experiments.setup.network import CostedNetwork
from dtfl_private.experiments.setup.tiers_allowed_by_audit import limit_tiers
from dtfl_private.simulation.costs.table import TierTable


@dataclass(frozen=True, kw_only=True)
class RunCosts:
    """The cost tables of a run.

    Attributes:
        config: with the tiers that a leakage budget allows, and the leakage that an exposure budget counts.
        in_use: of the tiers that ``tiers`` and the defenses' floor leave; all of them in a method without tiers.
        table: of the run, with the work and bytes of method and defenses.
    """

    config: TrainConfig
    in_use: TierTable
    table: TierTable


def cost_table(config: TrainConfig, parts: NamedParts, network: CostedNetwork, inputs: RunInputs) -> RunCosts:
    """Return the cost tables of a run.

    Raises:
        InputError: no tier is left, the network has no such tiers, or a defense refuses a cut.
    """
    in_use, defense = network.table, parts.defense
    if parts.method.tiered:
        config, in_use = limit_tiers(config, network.table, parts.audited, network.name, floor=defense.tier_floor)
        config = with_leakage(config, parts.leaking, in_use)
    table = defended_costs(
        config,
        parts.method,
        network.table,
        parts.numerics,
        inputs.classes,
        network.name,
        defense,
        inputs.dataset.input_shape,
    )
    return RunCosts(config=config, in_use=in_use, table=table)
