"""Plan: the schedule alone, without training, for thousands to millions of clients."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

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
from dtfl_private.tiers.schedulers import Static
from dtfl_private.tiers.table import TierTable, analyse


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
    bytes: dict[str, int]
    macs: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule without training, and how long fixed tiers would take under the same resources.

    static_time_s: simulated seconds of the same rounds with every client in tier m, by m.
    """

    table: TierTable
    rounds: Sequence[PlannedRound]
    static_time_s: dict[int, float]

    @property
    def virtual_time_s(self) -> float:
        """Simulated seconds of all rounds."""
        return self.rounds[-1].virtual_time_s


def plan(
    config: TrainConfig | None = None,
    *,
    input_shape: tuple[int, ...] = (3, 32, 32),
    classes: int = 10,
    images_per_client: int = 500,
    model: StagedModel | None = None,
    scheduler: Scheduler | None = None,
    compare_static: bool = False,
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

    rounds = _play(method_schedule(config, method, table, scheduler, images_K), config.rounds)
    static_time_s = {}
    if compare_static and method.tiered:
        for tier in table.tiers_M.tolist():
            fixed = method_schedule(config, method, table, Static(tier), images_K)
            static_time_s[tier] = _play(fixed, config.rounds)[-1].virtual_time_s
    return Plan(table=table, rounds=rounds, static_time_s=static_time_s)


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
