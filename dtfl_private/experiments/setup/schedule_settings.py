"""From a configuration to all that the schedule of a run depends on."""

from dataclasses import replace

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.client_devices import client_availability, client_profiles
from dtfl_private.experiments.setup.device_settings import on_devices
from dtfl_private.experiments.setup.exposure_by_audit import exposure_budget, require_one_round
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.wire_format import SCHEDULED, WireFormat
from dtfl_private.protocol.contracts import IntArray, Scheduler
from dtfl_private.simulation.clients.conditions import EnvironmentSettings
from dtfl_private.simulation.costs.device_costs import DeviceCosts
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.schedule_state import ScheduleSettings, WireOption
from dtfl_private.simulation.schedulers.baseline_schedulers import Static
from dtfl_private.simulation.schedulers.named import make_scheduler
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping, Timing
from dtfl_private.training.method import Method


def environment_settings(config: TrainConfig) -> EnvironmentSettings:
    """Return the clients' environment."""
    return EnvironmentSettings(
        clients=config.clients,
        profiles=client_profiles(config),
        link_unit=config.link_unit,
        drift=config.drift,
        drift_share=config.drift_share,
        drift_every=config.drift_every,
        noise=config.noise,
        profile_error=config.profile_error,
        dropout=config.dropout,
        absent=config.absent,
        leave=config.leave,
        join=config.join,
        seed=config.seed,
        availability=client_availability(config),
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
        deadline=config.deadline,
        send_every=config.send_every,
        fraction=config.fraction,
        first_tier=config.first_tier,
        ema=config.ema,
        cpu_macs_per_s=config.cpu_gmacs * 1e9,
        seed=config.seed,
        exposure=exposure_budget(config, table),
    )


def method_schedule(
    config: TrainConfig,
    method: Method,
    table: TierTable,
    scheduler: Scheduler | None,
    images_K: IntArray,
    chain: DefenseChain,
    devices: DeviceCosts | None = None,
) -> ScheduleSettings:
    """Return all that the schedule of a method's run depends on.

    Args:
        config: of the run.
        method: gives its time model and its choice of participants.
        table: the method's cost table.
        scheduler: to use instead of the one that the configuration names; None for methods without one.
        images_K: images of each participant there can be.
        chain: the clients' defenses; with some of them clients train first and send afterwards.
        devices: what the tiers cost on the profiles' engines, if they describe any.

    Raises:
        InputError: a scheduler for a method that has no use for it, defenses that its time model does not know, an
            exposure budget too small for a single round, or a device whose memory holds no tier.
    """
    if method.tiered:
        scheduler = scheduler or make_scheduler(config.scheduler, table.tiers_M, allowed=config.allowed)
    elif scheduler is not None:
        raise InputError(f"method {config.method.partition(':')[0]} has no tiers to schedule: leave the scheduler out")
    else:
        scheduler = Static(table.rows[0].tier)
    settings = schedule_settings(config, table, scheduler, images_K)
    if method.pooled:
        always_there = replace(settings.environment, clients=1, dropout=0.0, absent=0.0, leave=0.0, availability=None)
        settings = replace(settings, environment=always_there)
    wires = _scheduled_wires(table) if config.wire == "scheduled" else ()
    settings = replace(settings, timing=_timing(config, method, chain), selection=method.selection, wires=wires)
    if devices is not None and config.drift != "jumps":
        raise InputError(
            f"drift {config.drift} goes from one profile to another by degrees, which engines cannot: use drift jumps "
            "with profiles that describe engines"
        )
    settings = on_devices(settings, devices, drifts=config.drift_share > 0)
    require_one_round(settings)
    return settings


def _scheduled_wires(table: TierTable) -> list[WireOption]:
    """Return the formats that clients may be told to use; who holds the whole network sends no smashed data."""
    rows = [(row.cut_shape if row.smashed_bytes else (0,)) for row in table.rows]
    sizes = {name: [WireFormat(kind=name).record_bytes(shape) for shape in rows] for name in SCHEDULED}
    return [WireOption(name=name, image_bytes_M=np.array(bytes_M, dtype=np.float64)) for name, bytes_M in sizes.items()]


def _timing(config: TrainConfig, method: Method, chain: DefenseChain) -> Timing:
    """Return the method's time model, in the order in which clients with these defenses train and send."""
    timing = method.timing
    if not chain.releases_apart:
        return timing
    if not isinstance(timing, Overlapping):
        raise InputError(
            f"method {config.method.partition(':')[0]} has a time model of its own ({type(timing).__name__}), which "
            "does not know of clients that train first and send afterwards: leave out the defenses that send only then"
        )
    return replace(timing, trains_first=True)
