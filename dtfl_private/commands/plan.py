"""Plan: the schedule alone, without training, for thousands to millions of clients."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dtfl_private.commands.settings import make_method, method_costs, method_schedule
from dtfl_private.config import TrainConfig, resolved_norm
from dtfl_private.contracts import Scheduler
from dtfl_private.federated.schedule import (
    ScheduleSettings,
    ScheduleState,
    planned_bytes,
    planned_macs,
    schedule_round,
)
from dtfl_private.models.build import build_description
from dtfl_private.models.staged import StagedModel
from dtfl_private.runtime.device import choose_numerics, one_thread
from dtfl_private.tiers.schedulers import Static, make_scheduler
from dtfl_private.tiers.table import TierTable, analyse

COMPARED = ("dynamic", "efficient", "last-value", "static-profile", "random", "oracle")
"""The schedulers that a plan can be compared with."""


@dataclass(frozen=True, kw_only=True)
class PlannedRound:
    """One scheduled round: how many participants in which tier, and what it costs."""

    round: int
    round_time_s: float
    virtual_time_s: float
    participants: int
    dropped: int
    tier_counts: dict[int, int]
    server_wait_s: float
    oracle_time_s: float | None
    bytes: dict[str, int]
    macs: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule without training, and how long fixed tiers would take under the same resources.

    static_time_s: simulated seconds of the same rounds with every client in tier m, by m.
    scheduler_time_s: the same with other schedulers, by name.
    """

    table: TierTable
    rounds: Sequence[PlannedRound]
    static_time_s: dict[int, float]
    scheduler_time_s: dict[str, float] = field(default_factory=dict)

    @property
    def virtual_time_s(self) -> float:
        """Simulated seconds of all rounds."""
        return self.rounds[-1].virtual_time_s

    def regret(self, time_s: float) -> float | None:
        """Return by what share a time of all rounds is above the oracle's; None if there is no choice of tiers."""
        oracle_s = [planned.oracle_time_s for planned in self.rounds if planned.oracle_time_s is not None]
        return time_s / sum(oracle_s) - 1 if sum(oracle_s) > 0 else None


def plan(
    config: TrainConfig | None = None,
    *,
    input_shape: tuple[int, ...] = (3, 32, 32),
    classes: int = 10,
    images_per_client: int = 500,
    model: StagedModel | None = None,
    scheduler: Scheduler | None = None,
    compare_static: bool = False,
    compare_schedulers: bool = False,
) -> Plan:
    """Return the schedule that a training with this configuration would follow, without training.

    Args:
        config: clients, rounds, environment, method, scheduler; what concerns data and training is ignored.
        input_shape: shape of one input (channels, height, width).
        classes: number of classes.
        images_per_client: N_k of every client.
        model: network to use instead of the one the configuration names.
        scheduler: scheduler to use instead of the one the configuration names, in a method with tiers.
        compare_static: also play the same rounds with every client in one tier, for each tier, if the method has tiers.
        compare_schedulers: also play the same rounds with each of `COMPARED`, if the method has tiers.
    """
    config = config or TrainConfig()
    norm = resolved_norm(config)
    numerics = choose_numerics("cpu", config.precision, config.memory_format, norm)
    model = model or build_description(
        config.model, input_shape=input_shape, classes=classes, norm=norm, seed=config.seed
    )
    with one_thread():
        whole = analyse(model, input_shape, classes, numerics)
    method = make_method(config.method)
    table = method_costs(config, method, whole, numerics, classes, config.model)
    images_K = np.full(config.clients, images_per_client, dtype=np.int64)
    if method.pooled:
        images_K = images_K.sum(keepdims=True)

    def played(scheduler: Scheduler | None) -> list[PlannedRound]:
        return _play(method_schedule(config, method, table, scheduler, images_K), config.rounds)

    tiers = table.tiers_M.tolist() if compare_static and method.tiered else []
    others = COMPARED if compare_schedulers and method.tiered else ()
    return Plan(
        table=table,
        rounds=played(scheduler),
        static_time_s={tier: played(Static(tier))[-1].virtual_time_s for tier in tiers},
        scheduler_time_s={name: played(make_scheduler(name, table.tiers_M))[-1].virtual_time_s for name in others},
    )


def _play(settings: ScheduleSettings, rounds: int) -> list[PlannedRound]:
    state = ScheduleState.start(settings)
    played = []
    for number in range(1, rounds + 1):
        state, planned = schedule_round(state, settings, number)
        tiers, counts = np.unique(planned.tiers_P, return_counts=True)
        played.append(
            PlannedRound(
                round=number,
                round_time_s=planned.round_time_s,
                virtual_time_s=state.clock.now_s,
                participants=len(planned.clients_P),
                dropped=int(planned.dropped_P.sum()),
                tier_counts=dict(zip(tiers.tolist(), counts.tolist(), strict=True)),
                server_wait_s=planned.server_wait_s,
                oracle_time_s=planned.oracle_time_s,
                bytes=dict(planned_bytes(planned, settings.table)),
                macs=dict(planned_macs(planned, settings.table)),
            )
        )
    return played


def total_tier_counts(rounds: Sequence[PlannedRound]) -> Counter[int]:
    """Return how often each tier was given over all rounds."""
    total: Counter[int] = Counter()
    for planned in rounds:
        total.update(planned.tier_counts)
    return total
