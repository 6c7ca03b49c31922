"""What a run's tiers cost on the engines of its profiles."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.runtime.device import one_thread
from dtfl_private.simulation.clients.conditions import initial_state
from dtfl_private.simulation.clients.profiles import ResourceProfile, load_profiles
from dtfl_private.simulation.costs.device_costs import DeviceCosts, device_costs, require_a_tier
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.costs.tier_work import HeldParts, megabytes, step_optimizer, tier_work
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.training.method import Method


def run_devices(
    config: TrainConfig,
    method: Method,
    table: TierTable,
    model: StagedModel,
    numerics: Numerics,
    input_shape: tuple[int, ...],
    classes: int,
) -> DeviceCosts | None:
    """Return what the tiers of a run's table cost on its profiles' engines; None where no profile describes any.

    Args:
        config: of the run.
        method: says what a client holds in each tier.
        table: the run's cost table, with method and defenses.
        model: the network.
        numerics: precision and memory format of the run.
        input_shape: of one input.
        classes: number of classes.

    Raises:
        InputError: a device has no engine for the run's precision.
    """
    profiles = load_profiles(config.profiles)
    if method.pooled or not any(profile.engines for profile in profiles):
        return None
    held_M = [held_parts(method, row, table.modules) for row in table.rows]
    return costs_on(profiles, table, held_M, config, model, numerics, input_shape, classes)


def costs_on(
    profiles: Sequence[ResourceProfile],
    table: TierTable,
    held_M: Sequence[HeldParts],
    config: TrainConfig,
    model: StagedModel,
    numerics: Numerics,
    input_shape: tuple[int, ...],
    classes: int,
) -> DeviceCosts:
    """Return what the tiers of a table cost on profiles, in which clients train these parts."""
    with one_thread():
        network = network_operators(model, input_shape, classes, numerics, config.head)
    optimizer = step_optimizer(config.optimizer, config.momentum)
    works_M = [
        tier_work(network, held, row.tier, optimizer, config.batch_size)
        for held, row in zip(held_M, table.rows, strict=True)
    ]
    return device_costs(
        profiles,
        table,
        works_M,
        precision=numerics.precision,
        batch_size=config.batch_size,
        cpu_macs_per_s=config.cpu_gmacs * 1e9,
    )


def held_parts(method: Method, row: TierCost, modules: int) -> HeldParts:
    """Return what a client of a method trains in one tier."""
    return HeldParts(
        first=row.tier,
        last=method.held_tail,
        head=method.has_heads and row.tier < modules,
        releases_head=row.release_macs > row.client_forward_macs,
    )


def on_devices(settings: ScheduleSettings, devices: DeviceCosts | None, drifts: bool) -> ScheduleSettings:
    """Return the settings of a schedule on these devices.

    Args:
        settings: of a schedule without engines.
        devices: what the tiers cost on them.
        drifts: whether clients may come to have other profiles than at the start.

    Raises:
        InputError: the memory of a client's device holds no tier.
    """
    if devices is None:
        return settings
    profile_K = initial_state(settings.environment).profile_K
    clients_F = [np.flatnonzero((profile_K == place) | drifts).tolist() for place in range(len(devices.names_F))]
    require_a_tier(devices, settings.table, clients_F, settings.batch_size)
    profiles = [
        profile.model_copy(update={"cpus": cpus})
        for profile, cpus in zip(settings.environment.profiles, devices.cpus_F, strict=True)
    ]
    return replace(settings, devices=devices, environment=replace(settings.environment, profiles=tuple(profiles)))


def memory_notes(settings: ScheduleSettings) -> list[str]:
    """Return which tiers the memory of which profiles rules out, in lines for the user."""
    devices = settings.devices
    if devices is None or devices.fits_FM.all():
        return []
    notes = []
    for name, has, fits_M in zip(devices.names_F, devices.memory_F, devices.fits_FM, strict=True):
        if fits_M.all() or not fits_M.any():
            continue
        out = settings.table.tiers_M[~fits_M].tolist()
        least = min(
            (need for need, fits in zip(devices.needs_M, fits_M, strict=True) if not fits), key=lambda n: n.total
        )
        notes.append(
            f"clients of profile '{name}' never get tier {tier_names(out)}: its memory, {megabytes(has)}, is less than "
            f"{least}"
        )
    return notes
