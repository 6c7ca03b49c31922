"""Who rests or goes deeper so that no client exposes more over a run than its budget.

The budget is kept by what a full round would expose, so that it holds whoever drops out; charged is what was sent.
"""

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.simulation.client_workloads import full_round_sent
from dtfl_private.simulation.exposure_budget import ExposureBudget
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.two_limits import best_two_limits, cheapest_within


def full_round_exposure_KM(settings: ScheduleSettings, budget: ExposureBudget) -> FloatArray:
    """Return what each client would expose in a round in each tier, if nothing stops it."""
    return (full_round_sent(settings) / settings.images_K)[:, None] * budget.leakage_M


def resting(spent_K: FloatArray, settings: ScheduleSettings, fits_KM: BoolArray | None = None) -> BoolArray:
    """Return which clients can afford no tier any more (K,); nobody without a budget.

    ``fits_KM``: which tiers their memory holds; None if all.
    """
    budget = settings.exposure
    if budget is None:
        return np.zeros(len(settings.images_K), dtype=np.bool_)
    leakage = budget.leakage_M if fits_KM is None else np.where(fits_KM, budget.leakage_M, np.inf)
    least_K = full_round_sent(settings) / settings.images_K * leakage.min(axis=-1)
    resting_K: BoolArray = spent_K + least_K > budget.limit
    return resting_K


def exposed_clients(spent_K: FloatArray, settings: ScheduleSettings) -> list[int]:
    """Return the ids of the clients that can afford no tier any more."""
    clients: list[int] = np.flatnonzero(resting(spent_K, settings)).tolist()
    return clients


def open_tiers(
    spent_K: FloatArray,
    settings: ScheduleSettings,
    clients_P: IntArray,
    round_number: int,
    times_s_PM: FloatArray | None = None,
    fits_PM: BoolArray | None = None,
) -> BoolArray | None:
    """Return which tiers clients may take, at least one each, (P, M); None where all are open.

    Without a budget these are the tiers that their memory holds. What the budget forbids at once is open to nobody.
    Paced clients look ahead: the rounds that are left are to be as short as possible, by a mixture of two limits that
    all can afford in all of them. A tier is open that exposes no more than the client's least exposing one within the
    limit of this round, and what it will not need otherwise, spread evenly over the rounds that are left.

    Args:
        spent_K: what each client has exposed so far.
        settings: of the schedule.
        clients_P: participants; each has a tier that it can afford.
        round_number: of the round.
        times_s_PM: their times in each tier as they are expected; None where the server has none: then a paced client
            spends evenly.
        fits_PM: which tiers the memory of their devices holds; None if all.
    """
    budget = settings.exposure
    if budget is None:
        return fits_PM
    cost_PM = full_round_exposure_KM(settings, budget)[clients_P]
    if fits_PM is not None:
        cost_PM = np.where(fits_PM, cost_PM, np.inf)
    left_P = budget.limit - spent_K[clients_P]
    within_PM: BoolArray = cost_PM <= left_P[:, None]
    if budget.spending == "greedy" or not len(clients_P):
        return within_PM
    rounds_left = _rounds_left(settings, budget, round_number)
    even_P = np.maximum(left_P / rounds_left, cost_PM.min(axis=1))
    most_P = even_P if times_s_PM is None else _most_P(times_s_PM, cost_PM, within_PM, even_P, rounds_left)
    open_PM: BoolArray = within_PM & (cost_PM <= most_P[:, None])
    return open_PM


def _most_P(
    times_s_PM: FloatArray, cost_PM: FloatArray, within_PM: BoolArray, even_P: FloatArray, rounds_left: float
) -> FloatArray:
    """Return how much each client may expose in this round if all look ahead; ``even_P``: in a round on average."""
    times_s_PM = np.where(within_PM, times_s_PM, np.inf)
    plan = best_two_limits(times_s_PM, cost_PM, even_P)
    # Of many clients some were not looked at: nobody is to be without a tier.
    longest_s = float(times_s_PM.min(axis=1).max())
    limits_s = np.maximum([plan.next_s(rounds_left), plan.shorter_s, plan.longer_s], longest_s)
    now_P, shorter_P, longer_P = cheapest_within(times_s_PM, cost_PM, limits_s).T
    needed_P = plan.share * shorter_P + (1 - plan.share) * longer_P
    most_P: FloatArray = now_P + np.maximum(even_P - needed_P, 0.0)
    return most_P


def charged(spent_K: FloatArray, settings: ScheduleSettings, plan: RoundPlan) -> FloatArray:
    """Return what each client has exposed after a round, by what it sent of it; nothing without a budget."""
    budget = settings.exposure
    if budget is None:
        return spent_K
    leakage_P = budget.leakage_M[np.searchsorted(settings.table.tiers_M, plan.tiers_P)]
    after_K = spent_K.copy()
    after_K[plan.clients_P] += plan.sent_P / settings.images_K[plan.clients_P] * leakage_P
    return after_K


def _rounds_left(settings: ScheduleSettings, budget: ExposureBudget, round_number: int) -> float:
    """Return in how many rounds a client will still take part, this one included, if it is sampled as often as all."""
    return 1 + settings.fraction * max(0, budget.rounds - round_number)
