"""A round on paper: who takes part, in which tier, and how many simulated seconds it lasts. Nothing is trained here.

The trainer runs it before each round, the ``plan`` command runs nothing else. The scheduler sees the server's
measurements only; the true resources decide how long the round then really lasts.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from dtfl_private.protocol.contracts import BoolArray
from dtfl_private.simulation.client_workloads import client_workloads
from dtfl_private.simulation.clients.availability import first_there
from dtfl_private.simulation.clients.conditions import Conditions, EnvironmentState, advance, conditions
from dtfl_private.simulation.deadline import deadline_s
from dtfl_private.simulation.depth_progress import mean_depth
from dtfl_private.simulation.estimates import History, Observation, note_first_tiers, observe
from dtfl_private.simulation.exposure import charged, resting
from dtfl_private.simulation.measurements import measure_round, probe_newcomers
from dtfl_private.simulation.participation import sample_participants
from dtfl_private.simulation.resource_changes import factors
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.round_simulation import simulate_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.tier_assignment import Assignment, assign_tiers
from dtfl_private.simulation.wire_choice import choose_wires


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Which clients are there, where that is known and not simulated.

    Attributes:
        present_K: whether each client is there.
        probes: what newcomers have been measured to take; of nobody else.
    """

    present_K: BoolArray
    probes: Observation


@dataclass(frozen=True, kw_only=True)
class PlannedRound:
    """A round before it is played.

    Attributes:
        plan: who takes part, in which tier, and how the round goes under the simulated resources.
        before: the state that it was planned from.
        environment: the clients' profiles and presence.
        truth: their simulated resources.
        history: what the server knows of them, probes included.
        assigned: their tiers.
    """

    plan: RoundPlan
    before: ScheduleState
    environment: EnvironmentState
    truth: Conditions
    history: History
    assigned: Assignment


def schedule_round(
    state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int] = ()
) -> tuple[ScheduleState, RoundPlan]:
    """Return the state after round ``round_number`` and the round's plan; ``retired`` clients take no part.

    Clients may also rest, and take deeper tiers than the scheduler named, for the sake of an exposure budget.
    """
    planned = plan_round(state, settings, round_number, retired)
    return close_round(planned, settings, planned.plan, measure_round(planned.plan, planned.truth, settings))


def plan_round(
    state: ScheduleState,
    settings: ScheduleSettings,
    round_number: int,
    retired: Collection[int] = (),
    presence: Presence | None = None,
) -> PlannedRound:
    """Return round ``round_number`` as it is to be played.

    Args:
        state: after the round before.
        settings: of the schedule.
        round_number: from 1.
        retired: clients that take no part.
        presence: who is there; None: as the environment has it, which also says what a probe measures.
    """
    environment = advance(state.environment, settings.environment, round_number)
    if presence is not None:
        environment = replace(environment, present_K=presence.present_K)
    truth = conditions(environment, settings.environment, round_number)
    willing_K = environment.present_K.copy()
    willing_K[list(retired)] = False
    fits_KM = settings.fitting(environment.profile_K)
    rested = np.flatnonzero(willing_K & resting(state.exposure_K, settings, fits_KM))
    willing_K[rested] = False
    willing_K, wait_s = first_there(settings.environment.availability, willing_K, state.clock.now_s)
    clients_P = sample_participants(willing_K, state.history, settings, round_number)

    if presence is None:
        probed_P, history = probe_newcomers(state.history, truth, settings, clients_P)
    else:
        probed_P = np.zeros(len(clients_P), dtype=np.bool_)
        history = observe(state.history, presence.probes, settings.table.tiers_M, settings.newest)
    workloads = client_workloads(settings, truth, clients_P, round_number)
    fits_PM = None if fits_KM is None else fits_KM[clients_P]
    assigned = assign_tiers(replace(state, history=history), settings, workloads, round_number, fits_PM)
    wires = choose_wires(history, settings, workloads, assigned.tiers_P)
    until_s = deadline_s(history, settings, clients_P, assigned.tiers_P)
    plan = simulate_round(
        settings, truth, workloads, assigned.tiers_P, wires, probed_P, round_number, until_s, assigned.open_PM
    )
    if wait_s > 0:
        oracle_time_s = None if plan.oracle_time_s is None else plan.oracle_time_s + wait_s
        plan = replace(plan, round_time_s=plan.round_time_s + wait_s, oracle_time_s=oracle_time_s)
    names = [profile.name for profile in settings.environment.profiles]
    plan = replace(plan, profile_P=environment.profile_K[clients_P], profiles=names)
    if settings.exposure is not None:
        plan = replace(plan, rested=rested)
    return PlannedRound(
        plan=plan, before=state, environment=environment, truth=truth, history=history, assigned=assigned
    )


def close_round(
    planned: PlannedRound, settings: ScheduleSettings, played: RoundPlan, measured: Observation
) -> tuple[ScheduleState, RoundPlan]:
    """Return the state after a planned round, and the round as it went.

    Args:
        planned: the round.
        settings: of the schedule.
        played: its plan, with what became of it: times, batches, who dropped out.
        measured: what the server has measured of its clients.
    """
    state, assigned, clients_P = planned.before, planned.assigned, played.clients_P
    exposure_K = charged(state.exposure_K, settings, played)
    if settings.exposure is not None:
        played = replace(played, exposure_P=exposure_K[clients_P])
    changes = state.changes
    if settings.scheduler.uses_times:  # against what was known before this round: its probe says nothing of changes
        changes = changes.learn(factors(state.history, measured, settings.table))
    by_times_P = assigned.by_times_P
    history = note_first_tiers(planned.history, clients_P[by_times_P], assigned.tiers_P[by_times_P])
    after = replace(
        state,
        environment=planned.environment,
        history=observe(history, measured, settings.table.tiers_M, settings.newest),
        clock=state.clock.advance(played.round_time_s),
        changes=changes,
        exposure_K=exposure_K,
    )
    return after, played


def learn_progress(
    state: ScheduleState, plan: RoundPlan, settings: ScheduleSettings, loss: float | None
) -> ScheduleState:
    """Return the state with what a trained round tells of its tiers' progress; ``loss`` is its training loss."""
    stayed = ~plan.dropped_P
    column = np.searchsorted(settings.table.tiers_M, plan.tiers_P[stayed])
    depth = mean_depth(column, plan.images_P[stayed].astype(np.float64), len(settings.table.rows))
    return replace(state, progress=state.progress.learn(depth, loss))
