"""A scheduler that weighs a round's time, the server's queue included, against how far the round gets."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dtfl_private.contracts import FloatArray, IntArray, Outlook, TierChoice
from dtfl_private.environment.server import queue
from dtfl_private.tiers.progress import depths

SHORTLIST = 4
"""How many limits are played on the server's queue, beside the paper's."""

EXACT = 5000
"""Up to so many participants the limit is chosen with all of them."""

EVIDENCE = 4.0
"""Weight of the prior in units of `Outlook.depth_spread`: (0.5 / 0.25) squared, for a round's progress that scatters by
half of its mean and an effect of depth that is known to a quarter."""

LARGEST_EFFECT = 0.6
"""The effect of depth is kept within this, of either sign, whatever the rounds say."""


@dataclass(frozen=True, kw_only=True)
class Efficient:
    """Least expected time to progress: limit and tiers with the smallest round time per progress of the round.

    A round with limit T gives each client the tier that gets furthest of those with T_k(m) <= T (of equal ones the
    deepest). It lasts as long as the server's queue makes it, and gets as far as the mean of its clients' tiers,
    weighted by images. A tier's progress is linear in its depth, from 1 / ``rounds_ratio`` in the shallowest to 1 in
    the deepest, until the training losses of the rounds correct it. All limits are ranked by a bound of the round's
    time; the first few, and the paper's, are played on the queue.

    ``rounds_ratio`` is the prior: how many times as many rounds the shallowest tier needs as the deepest (1.6 follows
    from the paper's published times). 1 takes all tiers for equal until the losses speak, below 1 deep ones are slower.
    """

    uses_times: ClassVar[bool] = True
    rounds_ratio: Annotated[float, Field(ge=0.625, le=2.5)] = 1.6

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers of the participants."""
        outlook = choice.outlook or _nothing_known(choice.times_s_KM)
        progress_M = self.progress(outlook, len(choice.tiers_M))
        limit_s = best_limit_s(choice.times_s_KM, outlook, progress_M)
        tiers: IntArray = choice.tiers_M[columns_within(limit_s, choice.times_s_KM, merits(progress_M))]
        return tiers

    def progress(self, outlook: Outlook, tiers: int) -> FloatArray:
        """Return each tier's progress in a round relative to the deepest tier's, from prior and losses."""
        prior = 1 - 1 / self.rounds_ratio
        effect = (EVIDENCE * prior + outlook.depth_gain) / (EVIDENCE + outlook.depth_spread)
        progress_M: FloatArray = 1 - np.clip(effect, -LARGEST_EFFECT, LARGEST_EFFECT) * (1 - depths(tiers))
        return progress_M


def _nothing_known(times_s_KM: FloatArray) -> Outlook:
    """Return the outlook without a queue, with equal clients."""
    count = len(times_s_KM)
    return Outlook(
        arrival_s_KM=np.zeros_like(times_s_KM),
        service_s_KM=np.zeros_like(times_s_KM),
        server_workers=count,
        images_K=np.ones(count),
        first_tiers_K=np.zeros(count, dtype=np.int64),
    )


def time_to_progress(column_K: IntArray, times_s_KM: FloatArray, outlook: Outlook, progress_M: FloatArray) -> float:
    """Return the seconds of a round with these tiers (columns), queue included, per progress of the round."""
    rows_K = np.arange(len(column_K))
    time_s = times_s_KM[rows_K, column_K].max(initial=0.0)
    if outlook.server_workers < len(column_K):
        service_s_K = outlook.service_s_KM[rows_K, column_K]
        started_s_K = queue(outlook.arrival_s_KM[rows_K, column_K], service_s_K, outlook.server_workers)
        time_s = max(time_s, (started_s_K + service_s_K).max())
    return float(time_s / np.average(progress_M[column_K], weights=outlook.images_K))


def merits(progress_M: FloatArray) -> IntArray:
    """Return the rank of each tier (column), from 0: further is better, and of equally far ones the deeper."""
    return np.lexsort((np.arange(len(progress_M)), progress_M)).argsort()


def columns_within(limit_s: float, times_s_KM: FloatArray, merit_M: IntArray) -> IntArray:
    """Return each client's best column of those with T_k(m) <= limit; it must have one."""
    column_K: IntArray = merit_M.argsort()[np.where(times_s_KM <= limit_s, merit_M, -1).max(axis=1)]
    return column_K


def best_limit_s(times_s_KM: FloatArray, outlook: Outlook, progress_M: FloatArray) -> float:
    """Return the limit with the least time to progress; of more than `EXACT` clients every n-th stands for n."""
    papers_s = float(times_s_KM.min(axis=1).max())
    times_s_KM, outlook = _thinned(times_s_KM, outlook)
    merit_M = merits(progress_M)

    def score(limit_s: float) -> float:
        return time_to_progress(columns_within(limit_s, times_s_KM, merit_M), times_s_KM, outlook, progress_M)

    limits_s: list[float] = shortlist(times_s_KM, outlook, progress_M, papers_s).tolist()
    return min(limits_s, key=score)


def _thinned(times_s_KM: FloatArray, outlook: Outlook) -> tuple[FloatArray, Outlook]:
    """Return every n-th of many clients, before a server of an n-th of the capacity: fewer workers, or slower ones."""
    every = -(-len(times_s_KM) // EXACT)
    if every == 1:
        return times_s_KM, outlook
    fewer = outlook.server_workers >= every
    return times_s_KM[::every], replace(
        outlook,
        arrival_s_KM=outlook.arrival_s_KM[::every],
        service_s_KM=outlook.service_s_KM[::every] * (1 if fewer else every),
        server_workers=outlook.server_workers // every if fewer else outlook.server_workers,
        images_K=outlook.images_K[::every],
        first_tiers_K=outlook.first_tiers_K[::every],
    )


def shortlist(times_s_KM: FloatArray, outlook: Outlook, progress_M: FloatArray, papers_s: float) -> FloatArray:
    """Return the paper's limit, and the limits with the least bound of the time to progress.

    With one limit after the other, ascending, some client takes up a better tier; its gains in progress and its
    changes of the server's work are summed up. The round cannot be shorter than the limit, nor than the server's
    whole work, dealt out evenly to the workers, after the first data are there.
    """
    order_KM = np.argsort(times_s_KM, axis=1, kind="stable")
    ascending_s_KM = np.take_along_axis(times_s_KM, order_KM, axis=1)
    merit_M = merits(progress_M)
    best_KM = merit_M.argsort()[np.maximum.accumulate(merit_M[order_KM], axis=1)]
    gain_KM = _rises(outlook.images_K[:, None] * progress_M[best_KM])
    work_s_KM = _rises(np.take_along_axis(outlook.service_s_KM, best_KM, axis=1))

    steps = np.argsort(ascending_s_KM, axis=None, kind="stable")
    limit_s_S = ascending_s_KM.ravel()[steps]
    server_s_S = outlook.arrival_s_KM.min() + np.cumsum(work_s_KM.ravel()[steps]) / outlook.server_workers
    # Below the paper's limit a client has no tier; of equal limits the last is the one with all their steps taken.
    whole_S = (limit_s_S >= papers_s) & np.append(limit_s_S[1:] > limit_s_S[:-1], True)
    score_S = np.maximum(limit_s_S, server_s_S)[whole_S] / np.cumsum(gain_KM.ravel()[steps])[whole_S]
    few = np.argsort(score_S, kind="stable")[:SHORTLIST]
    return np.concatenate([[papers_s], limit_s_S[whole_S][few]])


def _rises(values_KM: FloatArray) -> FloatArray:
    """Return by how much each value differs from the one to its left; the first from 0."""
    return np.diff(values_KM, axis=1, prepend=0.0)
