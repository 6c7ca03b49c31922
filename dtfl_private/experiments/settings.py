"""From a configuration to the values that the layers below take."""

import math
from collections.abc import Sequence
from dataclasses import replace

from dtfl_private.errors import InputError
from dtfl_private.experiments.config import TrainConfig
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.registry import create
from dtfl_private.printable import shown_value
from dtfl_private.privacy.budget import end_of_run
from dtfl_private.privacy.compatibility import check_defenses, check_places
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.base import Defense
from dtfl_private.protection.chain import DefenseChain, full_round
from dtfl_private.protection.cost import RunFacts
from dtfl_private.protection.defended_costs import defended
from dtfl_private.protocol.contracts import IntArray, Scheduler, tier_names
from dtfl_private.simulation.clients.conditions import EnvironmentSettings
from dtfl_private.simulation.clients.profiles import load_profiles
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.schedule import ScheduleSettings
from dtfl_private.simulation.schedulers.others import Static
from dtfl_private.simulation.schedulers.paper import make_scheduler
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping, Timing
from dtfl_private.training.method import Method
from dtfl_private.training.optimizers import OptimizerSettings, PlateauSettings

# Values of one input: beyond it a single training step would not fit into the memory of common machines.
LARGEST_INPUT = 2**24


def environment_settings(config: TrainConfig) -> EnvironmentSettings:
    """Return the clients' environment."""
    return EnvironmentSettings(
        clients=config.clients,
        profiles=load_profiles(config.profiles),
        link_unit=config.link_unit,
        drift_share=config.drift_share,
        drift_every=config.drift_every,
        noise=config.noise,
        profile_error=config.profile_error,
        dropout=config.dropout,
        absent=config.absent,
        leave=config.leave,
        join=config.join,
        seed=config.seed,
    )


def schedule_settings(
    config: TrainConfig, table: TierTable, scheduler: Scheduler, images_K: IntArray
) -> ScheduleSettings:
    """Return all that the schedule of a run depends on."""
    return ScheduleSettings(
        environment=environment_settings(config),
        server=ServerCapacity(workers=config.server_workers, cpus=config.server_cpus),
        table=table,
        scheduler=scheduler,
        images_K=images_K,
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        fraction=config.fraction,
        first_tier=config.first_tier,
        ema=config.ema,
        cpu_macs_per_s=config.cpu_gmacs * 1e9,
        seed=config.seed,
    )


def make_method(text: str, *, allowed: Allowed = NOTHING_ALLOWED) -> Method:
    """Build the training method that ``text`` names; ``allowed`` is as for `create`.

    Raises:
        InputError: no such method, or what it names is none.
    """
    method = create("method", text, allowed=allowed)
    if not isinstance(method, Method):
        raise InputError(f"method '{text}' is a {type(method).__name__}, expected an object of a subclass of Method")
    return method


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


def make_chain(config: TrainConfig, defenses: Sequence[Defense] | None = None) -> DefenseChain:
    """Build the clients' defenses, those that the configuration names or the given ones.

    Raises:
        InputError: no such defense, or what is given is none.
    """
    for defense in defenses or ():
        if not isinstance(defense, Defense):
            raise InputError(
                f"defense {shown_value(defense)} is a {type(defense).__name__}, expected an object of a subclass of "
                "dtfl_private.Defense"
            )
    if defenses is None:
        defenses = [create("defense", text, allowed=config.allowed) for text in config.defense]
    return DefenseChain(defenses)


def require_defensible(config: TrainConfig, method: Method, chain: DefenseChain, norm: Norm) -> None:
    """Refuse defenses that cannot act in this method, together, or in this run.

    Raises:
        InputError: naming the first one and the reason.
    """
    check_places(chain, method.places, config.method.partition(":")[0])
    check_defenses(chain, norm, config.precision, config.local_epochs)


def calibrated(config: TrainConfig, chain: DefenseChain, classes: int, images_K: IntArray) -> DefenseChain:
    """Return the defenses with what depends on the run worked out.

    Raises:
        InputError: a target cannot be met in this run.
    """
    return chain.calibrated(
        RunFacts(
            rounds=config.rounds,
            batch_size=config.batch_size,
            local_epochs=config.local_epochs,
            classes=classes,
            records_K=tuple(images_K.tolist()),
        )
    )


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
    if table.column("statistics_bytes").any() and _states_guarantees(chain):
        raise InputError(
            f"{config.method.partition(':')[0]} has batch norm's statistics sent besides, which no guarantee of a "
            "defense covers: add --norm group"
        )
    return table


def _states_guarantees(chain: DefenseChain) -> bool:
    return bool(chain.guarantees(full_round(chain, records=1, batch_size=1, local_epochs=1)))


def cut_tiers(table: TierTable, network: TierTable) -> list[int]:
    """Return the tiers of a method's table at which the network is cut."""
    return [tier for tier in table.tiers_M.tolist() if tier in network.tiers_M]


def method_schedule(
    config: TrainConfig,
    method: Method,
    table: TierTable,
    scheduler: Scheduler | None,
    images_K: IntArray,
    chain: DefenseChain,
) -> ScheduleSettings:
    """Return all that the schedule of a method's run depends on.

    Args:
        config: of the run.
        method: gives its time model and its choice of participants.
        table: the method's cost table.
        scheduler: to use instead of the one that the configuration names; None for methods without one.
        images_K: images of each participant there can be.
        chain: the clients' defenses; with some of them clients train first and send afterwards.

    Raises:
        InputError: a scheduler for a method that has no use for it, or defenses that its time model does not know.
    """
    if method.tiered:
        scheduler = scheduler or make_scheduler(config.scheduler, table.tiers_M, allowed=config.allowed)
    elif scheduler is not None:
        raise InputError(f"method {config.method.partition(':')[0]} has no tiers to schedule: leave the scheduler out")
    else:
        scheduler = Static(table.rows[0].tier)
    settings = schedule_settings(config, table, scheduler, images_K)
    if method.pooled:
        always_there = replace(settings.environment, clients=1, dropout=0.0, absent=0.0, leave=0.0)
        settings = replace(settings, environment=always_there)
    return replace(settings, timing=_timing(config, method, chain), selection=method.selection)


def _timing(config: TrainConfig, method: Method, chain: DefenseChain) -> Timing:
    """Return the method's time model, in the order in which clients with these defenses train and send."""
    timing = method.timing
    if not chain.releases_apart:
        return timing
    if not isinstance(timing, Overlapping):
        raise InputError(
            f"method {config.method.partition(':')[0]} has a time model of its own ({type(timing).__name__}), which "
            "does not know of clients that train first and send afterwards: leave out the defenses that release apart"
        )
    return replace(timing, trains_first=True)


def optimizer_settings(config: TrainConfig) -> OptimizerSettings:
    """Return the optimiser of both halves."""
    return OptimizerSettings(name=config.optimizer, weight_decay=config.weight_decay, momentum=config.momentum)


def plateau_settings(config: TrainConfig) -> PlateauSettings:
    """Return when the learning rate decays."""
    return PlateauSettings(factor=config.lr_decay, patience=config.lr_patience)


def privacy_settings(
    config: TrainConfig, method: Method, defense: DefenseChain, images_K: IntArray
) -> tuple[PrivacySettings, dict[int, Ledger]]:
    """Return what clients release in a round, what happens when their budgets are spent, and what they have spent yet.

    Every client that has something to spend has a ledger from the start.

    Raises:
        InputError: not a single round is within a budget.
    """
    privacy = PrivacySettings(
        defense=defense,
        images_K=images_K,
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        on_budget=config.on_budget,
        sends=method.sends,
        full_tier=method.full_tier,
    )
    ledgers: dict[int, Ledger] = dict.fromkeys(range(len(images_K)), ()) if _states_guarantees(defense) else {}
    if ledgers and (reason := end_of_run(ledgers, privacy)) is not None:
        raise InputError(f"not a single round is within the privacy budget ({reason}): raise epsilon or the noise")
    return privacy, ledgers


def tiers_in_use(table: TierTable, config: TrainConfig, model: str) -> TierTable:
    """Return the table of the tiers that ``tiers`` and ``allowed_tiers`` leave.

    Raises:
        InputError: the network has no such tiers, or none is left.
    """
    everything, tiers = table.tiers_M.tolist(), config.tiers
    if tiers is not None and tiers > len(everything):
        raise InputError(
            f"tiers {tiers} is above what {model} has: its {len(everything) + 1} modules make {len(everything)} tiers"
        )
    table = table.deepest(len(everything) if tiers is None else tiers)
    if config.allowed_tiers is None:
        return table
    for tier in config.allowed_tiers:
        if tier not in everything:
            raise InputError(f"allowed tier {tier} does not exist: the tiers of {model} are {tier_names(everything)}")
    left = table.only(config.allowed_tiers)
    if not left.rows:
        raise InputError(
            f"allowed tiers {tier_names(config.allowed_tiers)} are none of the {tiers} deepest, "
            f"{tier_names(table.tiers_M.tolist())}: raise tiers, or allow deeper ones"
        )
    return left


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that ``CxHxW`` (an image) or ``T`` (so many tokens) names.

    Raises:
        InputError: neither three positive numbers nor one.
    """
    parts: Sequence[str] = text.lower().split("x")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(
            f"input shape '{text}' is not CHANNELSxHEIGHTxWIDTH, as in 3x32x32, nor a number of tokens, as in 512"
        )
    shape = tuple(int(part) for part in parts)
    if math.prod(shape) > LARGEST_INPUT:
        raise InputError(f"input shape '{text}' has more than {LARGEST_INPUT:,} values: choose a smaller one")
    return shape
