"""What every tier costs on every kind of device: its work by the roofline, and whether its memory holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import BoolArray, FloatArray
from dtfl_private.simulation.clients.engines import EnginePrecision
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.costs.operators import Operators
from dtfl_private.simulation.costs.roofline import Device, PlacedEngine, device_of, stalled_macs
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.costs.tier_work import MemoryNeed, TierWork, megabytes

Work = Literal["client_train_macs", "release_macs", "statistics_macs"]
"""What a client computes in a round, by the column of the cost table that has its MACs."""


@dataclass(frozen=True, kw_only=True)
class DeviceCosts:
    """What the M tiers of a cost table take on F kinds of devices.

    Attributes:
        names_F: of the profiles.
        cpus_F: base speeds in reference CPUs.
        macs_FM: by kind of work, MACs per image at the base speed: those of the table, and what else could have been
            computed in the time that the work takes.
        needs_M: memory that training takes.
        memory_F: bytes of the largest memory of an engine that can train.
        fits_FM: whether the device has an engine whose memory holds the tier.
        engines_FM: name of the engine that runs the products.
    """

    names_F: Sequence[str]
    cpus_F: Sequence[float]
    macs_FM: dict[Work, FloatArray]
    needs_M: Sequence[MemoryNeed]
    memory_F: Sequence[float]
    fits_FM: BoolArray
    engines_FM: Sequence[Sequence[str]]


def device_costs(
    profiles: Sequence[ResourceProfile],
    table: TierTable,
    works_M: Sequence[TierWork],
    *,
    precision: EnginePrecision,
    batch_size: int,
    cpu_macs_per_s: float,
) -> DeviceCosts:
    """Return what the tiers of a table cost on each of the profiles; those without engines cost their MACs.

    A step is taken to be of a whole batch; what a smaller last batch takes is in proportion.

    Args:
        profiles: kinds of devices.
        table: the run's cost table.
        works_M: what a client does in each of its tiers.
        precision: of the run.
        batch_size: images in a step.
        cpu_macs_per_s: speed of one reference CPU.

    Raises:
        InputError: a device has no engine for some operator.
    """
    rows = [_row(profile, table, works_M, precision, batch_size, cpu_macs_per_s) for profile in profiles]
    works: tuple[Work, ...] = ("client_train_macs", "release_macs", "statistics_macs")
    return DeviceCosts(
        names_F=[profile.name for profile in profiles],
        cpus_F=[row.cpus for row in rows],
        macs_FM={work: np.array([row.macs_M[work] for row in rows]) for work in works},
        needs_M=[work.need for work in works_M],
        memory_F=[row.memory_bytes for row in rows],
        fits_FM=np.array([[engine is not None for engine in row.engines_M] for row in rows]),
        engines_FM=[[engine or "none" for engine in row.engines_M] for row in rows],
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    cpus: float
    macs_M: dict[Work, FloatArray]
    memory_bytes: float
    engines_M: Sequence[str | None]


def _row(
    profile: ResourceProfile,
    table: TierTable,
    works_M: Sequence[TierWork],
    precision: EnginePrecision,
    batch_size: int,
    cpu_macs_per_s: float,
) -> _Row:
    counted: dict[Work, FloatArray] = {
        "client_train_macs": table.column("client_train_macs"),
        "release_macs": table.column("release_macs"),
        "statistics_macs": table.column("statistics_macs"),
    }
    if not profile.engines:
        return _Row(cpus=profile.cpus, macs_M=counted, memory_bytes=np.inf, engines_M=["cpus"] * len(works_M))
    device = device_of(profile, precision, cpu_macs_per_s)
    mains_M = [_main(device, work.need.total) for work in works_M]
    for place, (work, main) in enumerate(zip(works_M, mains_M, strict=True)):
        parts: dict[Work, Operators] = {
            "client_train_macs": work.training,
            "release_macs": work.releasing,
            "statistics_macs": work.measuring,
        }
        for kind, operators in parts.items():
            if counted[kind][place]:  # what is not done takes no time
                counted[kind][place] += stalled_macs(operators, device, main or device.mains[0], batch_size)
    fastest = device.mains[0]
    as_said = fastest.name == "cpus" and profile.engines["cpus"].macs_per_s is None
    return _Row(
        cpus=profile.cpus if as_said else device.base_macs_per_s / cpu_macs_per_s,
        macs_M=counted,
        memory_bytes=max(engine.memory_bytes for engine in device.mains),
        engines_M=[None if main is None else main.name for main in mains_M],
    )


def _main(device: Device, needed_bytes: float) -> PlacedEngine | None:
    """Return the fastest engine whose memory holds so much; None if there is none."""
    return next((engine for engine in device.mains if needed_bytes <= engine.memory_bytes), None)


def require_a_tier(costs: DeviceCosts, table: TierTable, clients_F: Sequence[Sequence[int]], batch_size: int) -> None:
    """Return if every kind of device that a client has can hold one tier at least.

    Args:
        costs: on the devices.
        table: the run's cost table.
        clients_F: ids of the clients that have, or may draw, each profile.
        batch_size: images in a step.

    Raises:
        InputError: one cannot; what it has and what is needed is said.
    """
    for place, clients in enumerate(clients_F):
        if not len(clients) or costs.fits_FM[place].any():
            continue
        least = min(range(len(costs.needs_M)), key=lambda tier: costs.needs_M[tier].total)
        need = costs.needs_M[least]
        more = f"client {clients[0]}" + (f" and {len(clients) - 1} more" if len(clients) > 1 else "")
        raise InputError(
            f"profile '{costs.names_F[place]}' ({more}) has too little memory for any tier: "
            f"{megabytes(costs.memory_F[place])}, and tier {table.rows[least].tier}, the smallest, takes {need} at "
            f"batch_size {batch_size}: lower batch_size, cut the network earlier, or leave the profile out"
        )
