"""The cost table of a run: its tiers, with what the method and the defenses add."""

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.privacy_settings import states_guarantees
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defended_costs import defended
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.training.method import Method
from dtfl_private.verdicts.leakage_source import parse_leakage


def method_costs(
    config: TrainConfig, method: Method, network: TierTable, numerics: Numerics, classes: int, model: str
) -> TierTable:
    """Return a method's cost table from the network's own; which tiers are in use matters to methods with a scheduler.

    Raises:
        InputError: the network has no such tiers.
    """
    if method.tiered:
        network = tiers_in_use(network, config, model)
    return method.costs(network, classes, numerics)


def defended_costs(
    config: TrainConfig,
    method: Method,
    network: TierTable,
    numerics: Numerics,
    classes: int,
    model: str,
    chain: DefenseChain,
    input_shape: tuple[int, ...],
) -> TierTable:
    """Return a method's cost table with the work and the bytes of its clients' defenses in it; see `method_costs`.

    Raises:
        InputError: the network has no such tiers, a defense refuses a cut, or the clients accept none that is left.
    """
    table = method_costs(config, method, network, numerics, classes, model)
    if method.cuts:
        table = defended(table, chain, input_shape, config.batch_size)
    if method.full_tier and not cut_tiers(table, network):
        raise InputError(
            f"tier floor {chain.tier_floor} leaves only the tier of the whole network: lower it, or use --method fedavg"
        )
    if table.column("statistics_bytes").any() and states_guarantees(chain):
        raise InputError(
            f"{config.method.partition(':')[0]} has batch norm's statistics sent as well, which no guarantee of a "
            "defense covers: add --norm group"
        )
    return table


def cut_tiers(table: TierTable, network: TierTable) -> list[int]:
    """Return the tiers of a method's table at which the network is cut."""
    return [tier for tier in table.tiers_M.tolist() if tier in network.tiers_M]


def tiers_in_use(table: TierTable, config: TrainConfig, model: str) -> TierTable:
    """Return the table of the tiers that ``tiers``, ``allowed_tiers`` and ``tier_leakage`` leave.

    Raises:
        InputError: the network has no such tiers, or none is left.
    """
    everything, tiers = table.tiers_M.tolist(), config.tiers
    if tiers is not None and tiers > len(everything):
        raise InputError(
            f"tiers {tiers} is above what {model} has: its {len(everything) + 1} modules make {len(everything)} tiers"
        )
    table = table.deepest(len(everything) if tiers is None else tiers)
    return _with_known_leakage(_allowed(table, everything, config, model), everything, config, model)


def _allowed(table: TierTable, everything: list[int], config: TrainConfig, model: str) -> TierTable:
    if config.allowed_tiers is None:
        return table
    for tier in config.allowed_tiers:
        if tier not in everything:
            raise InputError(f"allowed tier {tier} does not exist: the tiers of {model} are {tier_names(everything)}")
    left = table.only(config.allowed_tiers)
    if not left.rows:
        raise InputError(
            f"allowed tiers {tier_names(config.allowed_tiers)} are none of the {config.tiers} deepest, "
            f"{tier_names(table.tiers_M.tolist())}: raise tiers, or allow deeper ones"
        )
    return left


def _with_known_leakage(table: TierTable, everything: list[int], config: TrainConfig, model: str) -> TierTable:
    """Return the tiers of which it is known what they leak, where an exposure budget counts that."""
    if config.tier_leakage is None:
        return table
    known = [*parse_leakage(config.tier_leakage)]
    for tier in known:
        if tier not in everything:
            raise InputError(
                f"tier_leakage names tier {tier}, which does not exist: the tiers of {model} are "
                f"{tier_names(everything)}"
            )
    left = table.only(known)
    if not left.rows:
        raise InputError(
            f"tier_leakage names tiers {tier_names(known)}, none of those in use, "
            f"{tier_names(table.tiers_M.tolist())}: say what these leak"
        )
    return left
