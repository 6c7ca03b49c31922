"""Plan: the schedule alone, without training, for thousands to millions of clients."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dtfl_private.data.normalization import Normalization
from dtfl_private.data.registration import NO_TRAFFIC, planned_traffic
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.plugin_fields import object_name
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_rounds import Plan, PlannedExposure, PlannedRound
from dtfl_private.experiments.setup.client_devices import traces_notes
from dtfl_private.experiments.setup.cost_tables import defended_costs
from dtfl_private.experiments.setup.device_settings import memory_notes, run_devices
from dtfl_private.experiments.setup.exposure_by_audit import exposure_line, exposure_notes, open_leakage, with_leakage
from dtfl_private.experiments.setup.named_plugins import make_chain, make_method, require_defensible
from dtfl_private.experiments.setup.privacy_settings import calibrated, placed, privacy_settings
from dtfl_private.experiments.setup.schedule_settings import method_schedule
from dtfl_private.experiments.setup.tiers_allowed_by_audit import (
    SAME,
    UNLIMITED,
    allowed_line,
    limit_tiers,
    open_budget,
)
from dtfl_private.models.build import build_description
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.privacy.budget import end_of_run, spent_clients
from dtfl_private.privacy.compatibility import check_network
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import charge_scheduled
from dtfl_private.protection.base import Defense
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.contracts import IntArray, Scheduler
from dtfl_private.runtime.device import choose_numerics, one_thread
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.device_costs import DeviceCosts
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.exposure import exposed_clients
from dtfl_private.simulation.round_plan import RoundPlan, planned_bytes, planned_macs
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Static
from dtfl_private.simulation.schedulers.named import make_scheduler
from dtfl_private.training.method import Method

COMPARED = ("dynamic", "efficient", "last-value", "static-profile", "random", "oracle")
"""The schedulers that a plan can be compared with."""


def plan(
    config: TrainConfig | None = None,
    *,
    input_shape: tuple[int, ...] = (3, 32, 32),
    classes: int = 10,
    images_per_client: int = 500,
    model: StagedModel | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    compare_static: bool = False,
    compare_schedulers: bool = False,
) -> Plan:
    """Return the schedule that a training with this configuration would follow, without training.

    Args:
        config: clients, rounds, environment, method, scheduler, defenses, and normalization, whose messages are
            counted; what else concerns data and training is ignored. A leakage budget's audit must be of the same
            network; data set, norm and defenses are compared if they were set.
        input_shape: shape of one input (channels, height, width).
        classes: number of classes.
        images_per_client: N_k of every client.
        model: network to use instead of the one the configuration names.
        scheduler: scheduler to use instead of the one the configuration names, in a method with tiers.
        defenses: defenses to use instead. Their work, bytes, order of training and sending, tier floor and privacy
            budgets are those of a training; that a guard refuses a download is not foreseen.
        compare_static: also play the same rounds with every client in one tier, for each tier, if the method has tiers.
        compare_schedulers: also play the same rounds with each of `COMPARED`, if the method has tiers.
    """
    run = _described_run(config or TrainConfig(), input_shape, classes, images_per_client, model, defenses)
    tiers = run.table.tiers_M.tolist() if compare_static and run.method.tiered else []
    others = COMPARED if compare_schedulers and run.method.tiered else ()
    played = _play(run, scheduler)
    limited = run.config.allowed_tiers is not None or played.exposure is not None
    return Plan(
        table=run.table,
        rounds=played.rounds,
        static_time_s={tier: _time_s(run, Static(tier)) for tier in tiers},
        scheduler_time_s={name: _time_s(run, make_scheduler(name, run.table.tiers_M)) for name in others},
        allowed=allowed_line(run.config),
        unlimited_time_s=_time_s(_unlimited(run), scheduler) if limited else None,
        exposure=played.exposure,
        notes=[*run.notes, *played.notes],
    )


@dataclass(frozen=True, kw_only=True)
class _DescribedRun:
    """What a schedule follows from, of a run whose data and network are only described.

    Attributes:
        config: with the tiers that a leakage budget allows, and the leakage that an exposure budget counts.
        method: the training method.
        defense: the clients' defenses, calibrated.
        numerics: device and number formats.
        whole: costs of all tiers of the network.
        table: costs of the allowed tiers, with what method and defenses add.
        name: of the network, for messages.
        classes: number of classes.
        input_shape: of one input.
        images_K: (K,) images of each client.
        model: the network.
        devices: what the tiers cost on the profiles' engines; None where these describe none.
        notes: lines for the user.
    """

    config: TrainConfig
    method: Method
    defense: DefenseChain
    numerics: Numerics
    whole: TierTable
    table: TierTable
    name: str
    classes: int
    input_shape: tuple[int, ...]
    images_K: IntArray
    model: StagedModel
    devices: DeviceCosts | None
    notes: Sequence[str]


def _described_run(
    config: TrainConfig,
    input_shape: tuple[int, ...],
    classes: int,
    images_per_client: int,
    model: StagedModel | None,
    defenses: Sequence[Defense] | None,
) -> _DescribedRun:
    """Check the run, and return what its schedule follows from."""
    chain = make_chain(config, defenses)
    norm = resolved_norm(config, chain)
    method = make_method(config.method, allowed=config.allowed)
    require_defensible(config, method, chain, norm)
    name = config.model if model is None else object_name(model)
    own = {"model": name, **_facts_given(config)}
    if defenses is not None:
        own["defense"] = [object_name(defense) for defense in defenses]
    audited, leaking = open_budget(config, method, own), open_leakage(config, method, own)
    numerics = choose_numerics("cpu", config.precision, config.memory_format, norm)
    model = model or build_description(
        config.model, input_shape=input_shape, classes=classes, norm=norm, seed=config.seed, allowed=config.allowed
    )
    check_network(chain, model)
    with one_thread():
        in_use = whole = analyse(model, input_shape, classes, numerics, config.head)
    if method.tiered:
        config, in_use = limit_tiers(config, whole, audited, name, floor=chain.tier_floor, same_images=False)
        config = with_leakage(config, leaking, in_use, same_images=False)
    images_K = _images_K(config, method, images_per_client)
    table = defended_costs(config, method, whole, numerics, classes, name, chain, input_shape)
    return _DescribedRun(
        config=config,
        method=method,
        numerics=numerics,
        whole=whole,
        table=table,
        defense=calibrated(config, placed(config, chain, table), classes, images_K),
        name=name,
        classes=classes,
        input_shape=input_shape,
        images_K=images_K,
        model=model,
        devices=run_devices(config, method, table, model, numerics, input_shape, classes),
        notes=[note for audit in (audited, leaking) if audit is not None for note in audit.notes(in_use)],
    )


def _images_K(config: TrainConfig, method: Method, images_per_client: int) -> IntArray:
    """Return the images of each client, which are all at one place in a method that pools them."""
    images_K = np.full(config.clients, images_per_client, dtype=np.int64)
    return images_K.sum(keepdims=True) if method.pooled else images_K


def _unlimited(run: _DescribedRun) -> _DescribedRun:
    """Return the same run, were nothing limited."""
    free = run.config.model_copy(update=UNLIMITED)
    costs = defended_costs(
        free, run.method, run.whole, run.numerics, run.classes, run.name, run.defense, run.input_shape
    )
    devices = run_devices(free, run.method, costs, run.model, run.numerics, run.input_shape, run.classes)
    return replace(run, config=free, table=costs, devices=devices)


def _time_s(run: _DescribedRun, scheduler: Scheduler | None) -> float:
    """Return the simulated seconds of all rounds with this scheduler."""
    return _play(run, scheduler).rounds[-1].virtual_time_s


def _facts_given(config: TrainConfig) -> dict[str, Any]:
    """Return what the user said of the run among what an audit must have in common with it."""
    given = [key for key in SAME if key in config.model_fields_set and key != "norm"]
    norm = {} if config.norm == "auto" else {"norm": config.norm}
    wire = {} if config.wire == "auto" else {"wire": config.wire}
    return {key: getattr(config, key) for key in given} | norm | wire


@dataclass(frozen=True, kw_only=True)
class _Played:
    """Rounds that were scheduled, what clients have exposed in them, and lines for the user."""

    rounds: Sequence[PlannedRound]
    exposure: PlannedExposure | None
    notes: Sequence[str]


def _play(run: _DescribedRun, scheduler: Scheduler | None) -> _Played:
    """Return the rounds, until budgets end them; a scheduler of None is the configuration's."""
    config, method = run.config, run.method
    settings = method_schedule(config, method, run.table, scheduler, run.images_K, run.defense, run.devices)
    privacy, spent = privacy_settings(config, method, run.defense, run.images_K)
    ledgers: Mapping[int, Ledger] = spent
    registration = _registration(run)
    state, whole_tier = ScheduleState.start(settings), settings.table.modules if privacy.full_tier else None
    played: list[PlannedRound] = []
    notes = [*traces_notes(config), *memory_notes(settings), *exposure_notes(settings)]
    for number in range(1, config.rounds + 1):
        if (why := end_of_run(ledgers, privacy, exposed_clients(state.exposure_K, settings))) is not None:
            notes.append(f"the run ends after round {len(played)} of {config.rounds}: {why}")
            break
        retired = spent_clients(ledgers, privacy)
        state, planned = schedule_round(state, settings, number, retired)
        ledgers = charge_scheduled(ledgers, planned, privacy, whole_tier)
        played.append(_planned_round(planned, settings.table, state.clock.now_s, len(retired), registration))
    return _Played(rounds=played, exposure=_exposure(config, settings, state), notes=notes)


def _exposure(config: TrainConfig, settings: ScheduleSettings, state: ScheduleState) -> PlannedExposure | None:
    """Return what clients have exposed, where that is limited."""
    rule = exposure_line(config)
    if settings.exposure is None or rule is None:
        return None
    highest, median = float(state.exposure_K.max()), float(np.median(state.exposure_K))
    return PlannedExposure(rule=rule, budget=settings.exposure.most, highest=highest, median=median)


def _registration(run: _DescribedRun) -> Mapping[str, int]:
    """Return the bytes that clients send of their images before round 1."""
    if run.method.pooled or any(member.facts.keeps_inputs_apart for member in run.defense):
        return NO_TRAFFIC
    return planned_traffic(Normalization.parse(run.config.normalization), run.config.clients, run.input_shape)


def _planned_round(
    planned: RoundPlan, table: TierTable, now_s: float, retired: int, registration: Mapping[str, int]
) -> PlannedRound:
    """Return the figures of a round that was scheduled and ends at ``now_s``."""
    tiers, counts = np.unique(planned.tiers_P, return_counts=True)
    return PlannedRound(
        round=planned.round,
        round_time_s=planned.round_time_s,
        virtual_time_s=now_s,
        participants=len(planned.clients_P),
        dropped=int(planned.dropped_P.sum()),
        retired=retired,
        tier_counts=dict(zip(tiers.tolist(), counts.tolist(), strict=True)),
        server_wait_s=planned.server_wait_s,
        oracle_time_s=planned.oracle_time_s,
        oracle_matches=planned.oracle_matches,
        bytes=dict(planned_bytes(planned, table, registration)),
        macs=dict(planned_macs(planned, table)),
        wire_counts=dict(Counter(planned.wires)),
        rested=0 if planned.rested is None else len(planned.rested),
    )
