"""What a schedule depends on, and what one round's hands to the next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FirstTier, FloatArray, IntArray, Scheduler, TimesSource
from dtfl_private.protocol.messages import Wire
from dtfl_private.randomness import stream
from dtfl_private.simulation.clients.conditions import (
    EnvironmentSettings,
    EnvironmentState,
    initial_state,
)
from dtfl_private.simulation.clock import VirtualClock
from dtfl_private.simulation.costs.device_costs import DeviceCosts, Work
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.depth_progress import DepthProgress
from dtfl_private.simulation.estimates import (
    History,
)
from dtfl_private.simulation.exposure_budget import ExposureBudget
from dtfl_private.simulation.resource_changes import Changes
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping, Timing

NOT_COUNTED = np.empty(0)
"""Exposures of clients where nothing limits them."""


class Selection(Protocol):
    """Which of the clients that are there take part in a round."""

    def choose(
        self, present: IntArray, count: int, history: History, settings: "ScheduleSettings", round_number: int
    ) -> IntArray:
        """Return the ids of about ``count`` participants, at least one, out of ``present`` (not empty)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Every present client is as likely as any other."""

    def choose(
        self, present: IntArray, count: int, history: History, settings: "ScheduleSettings", round_number: int
    ) -> IntArray:
        """Return a sample without replacement."""
        if count == len(present):
            return present
        return stream(settings.seed, "sample", round_number).permutation(present)[:count]


@dataclass(frozen=True, kw_only=True)
class WireOption:
    """A format of smashed data, and the bytes of an image's in each tier (M,)."""

    name: Wire
    image_bytes_M: FloatArray


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """All that a schedule depends on.

    Attributes:
        environment: the clients' resources.
        server: the server's capacity.
        table: cost of the allowed tiers.
        scheduler: names the tiers.
        images_K: N_k, the training images of each client.
        batch_size: images per batch.
        local_epochs: passes over a client's images in a round.
        fraction: share of the present clients that take part in a round.
        first_tier: what a client gets before it was ever observed. "probe": it times one standard batch in the
            shallowest tier, which counts as its first measurement and costs it that time; otherwise a fixed tier.
        ema: weight of the newest sample in the moving averages.
        cpu_macs_per_s: speed of one reference CPU.
        seed: of sampling, dropouts and the scheduler.
        deadline: after so many times the time that a round is expected to take clients stop training; None: never.
        send_every: of the batches that a client would send it sends the first, and every so many-th after it.
        wires: the formats of smashed data that clients may be told to use, from the coarsest on, whose bytes are in the
            table; empty where all use the same.
        timing: the method's time model: what waits for what.
        selection: the method's choice of participants.
        exposure: what each client may expose over the run; None: whatever it takes.
        devices: what the tiers cost on each profile's engines; None where no profile describes any: then a device
            computes all MACs at the speed of its CPU share.
    """

    environment: EnvironmentSettings
    server: ServerCapacity
    table: TierTable
    scheduler: Scheduler
    images_K: IntArray
    batch_size: int
    local_epochs: int
    fraction: float
    first_tier: FirstTier
    ema: float
    cpu_macs_per_s: float
    seed: int
    deadline: float | None = None
    send_every: int = 1
    wires: Sequence[WireOption] = ()
    timing: Timing = field(default_factory=Overlapping)
    selection: Selection = field(default_factory=Uniform)
    exposure: ExposureBudget | None = None
    devices: DeviceCosts | None = None

    def client_macs(self, work: Work, profile_P: IntArray) -> FloatArray:
        """Return what clients with these profiles compute per image in each tier, in MACs at their speed.

        Either (P, M), or (M,) where that is the same on all devices.
        """
        if self.devices is None:
            return self.table.column(work)
        of_devices: FloatArray = self.devices.macs_FM[work][profile_P]
        return of_devices

    def fitting(self, profile_P: IntArray) -> BoolArray | None:
        """Return which tiers the memory of devices with these profiles holds, (P, M); None if all hold all."""
        if self.devices is None or self.devices.fits_FM.all():
            return None
        fits_PM: BoolArray = self.devices.fits_FM[profile_P]
        return fits_PM

    @property
    def server_seconds_M(self) -> FloatArray:
        """A server worker's seconds per image for each tier's server half."""
        return self.table.column("server_train_macs") / (self.server.cpus * self.cpu_macs_per_s)

    @property
    def sees(self) -> TimesSource:
        """What the scheduler's times come from."""
        return getattr(self.scheduler, "sees", "average")

    @property
    def newest(self) -> float:
        """Weight of the newest sample: all of it for a scheduler that sees the last one only."""
        return 1.0 if self.sees == "last" else self.ema


@dataclass(frozen=True, kw_only=True)
class ScheduleState:
    """What one round's schedule hands to the next; ``exposure_K``: what each client has exposed, if that is limited."""

    environment: EnvironmentState
    history: History
    clock: VirtualClock
    progress: DepthProgress = field(default_factory=DepthProgress)
    changes: Changes = field(default_factory=Changes)
    exposure_K: FloatArray = field(default_factory=lambda: NOT_COUNTED)

    @classmethod
    def start(cls, settings: ScheduleSettings) -> "ScheduleState":
        """Return the state before the first round."""
        return cls(
            environment=initial_state(settings.environment),
            history=History.empty(settings.environment.clients, len(settings.table.rows)),
            clock=VirtualClock(),
            exposure_K=NOT_COUNTED if settings.exposure is None else np.zeros(len(settings.images_K)),
        )
