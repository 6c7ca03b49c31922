"""A round on paper: who takes part, in which tier, and how many simulated seconds it lasts. Nothing is trained here.

The trainer runs it before each round, the ``plan`` command runs nothing else. The scheduler sees the server's
measurements only; the true resources decide how long the round then really lasts.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from dtfl_private.simulation.client_workloads import client_workloads
from dtfl_private.simulation.clients.conditions import advance, conditions
from dtfl_private.simulation.deadline import deadline_s
from dtfl_private.simulation.depth_progress import mean_depth
from dtfl_private.simulation.estimates import note_first_tiers, observe
from dtfl_private.simulation.exposure import charged, resting
from dtfl_private.simulation.measurements import measure_round, probe_newcomers
from dtfl_private.simulation.participation import sample_participants
from dtfl_private.simulation.resource_changes import factors
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.round_simulation import simulate_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.tier_assignment import assign_tiers
from dtfl_private.simulation.wire_choice import choose_wires


def schedule_round(
    state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int] = ()
) -> tuple[ScheduleState, RoundPlan]:
    """Return the state after round ``round_number`` and the round's plan; ``retired`` clients take no part.

    Clients may also rest, and take deeper tiers than the scheduler named, for the sake of an exposure budget.
    """
    environment = advance(state.environment, settings.environment, round_number)
    truth = conditions(environment, settings.environment, round_number)
    willing_K = environment.present_K.copy()
    willing_K[list(retired)] = False
    resting_K = resting(state.exposure_K, settings)
    rested = np.flatnonzero(willing_K & resting_K)
    willing_K[rested] = False
    clients_P = sample_participants(willing_K, state.history, settings, round_number)

    probed_P, history = probe_newcomers(state.history, truth, settings, clients_P)
    workloads = client_workloads(settings, truth, clients_P, round_number)
    assigned = assign_tiers(replace(state, history=history), settings, workloads, round_number)
    wires = choose_wires(history, settings, workloads, assigned.tiers_P)
    until_s = deadline_s(history, settings, clients_P, assigned.tiers_P)
    plan = simulate_round(
        settings, truth, workloads, assigned.tiers_P, wires, probed_P, round_number, until_s, assigned.open_PM
    )
    names = [profile.name for profile in settings.environment.profiles]
    plan = replace(plan, profile_P=environment.profile_K[clients_P], profiles=names)
    exposure_K = charged(state.exposure_K, settings, plan)
    if settings.exposure is not None:
        plan = replace(plan, rested=rested, exposure_P=exposure_K[clients_P])

    measured = measure_round(plan, truth, settings)
    changes = state.changes
    if settings.scheduler.uses_times:  # against what was known before this round: its probe says nothing of changes
        changes = changes.learn(factors(state.history, measured, settings.table))
    history = note_first_tiers(history, clients_P[assigned.by_times_P], assigned.tiers_P[assigned.by_times_P])
    history = observe(history, measured, settings.table.tiers_M, settings.newest)
    clock = state.clock.advance(plan.round_time_s)
    after = replace(
        state, environment=environment, history=history, clock=clock, changes=changes, exposure_K=exposure_K
    )
    return after, plan


def learn_progress(
    state: ScheduleState, plan: RoundPlan, settings: ScheduleSettings, loss: float | None
) -> ScheduleState:
    """Return the state with what a trained round tells of its tiers' progress; ``loss`` is its training loss."""
    stayed = ~plan.dropped_P
    column = np.searchsorted(settings.table.tiers_M, plan.tiers_P[stayed])
    depth = mean_depth(column, plan.images_P[stayed].astype(np.float64), len(settings.table.rows))
    return replace(state, progress=state.progress.learn(depth, loss))
