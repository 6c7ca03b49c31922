"""A scheduler that weighs a round's time, the server's queue included, against how far the round gets."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray, RoundEstimates, TierChoice
from dtfl_private.simulation.depth_progress import depths
from dtfl_private.simulation.server_queue import done_s

SHORTLIST = 4
"""How many limits are simulated on the server's queue, in addition to the paper's."""

EXACT = 5000
"""Up to so many participants the limit is chosen with all of them."""

EXAMPLES = 500
"""So many participants, at most, are the examples of what a client that has changed may have become."""

WORTHWHILE = 0.01
"""By what share of the least time to progress less offloading may be worse and is still taken."""

EVIDENCE = 4.0
"""Weight of the prior in units of `RoundEstimates.depth_spread`: (0.5 / 0.25) squared, for a round's progress that
scatters by half of its mean and an effect of depth that is known to a quarter."""

LARGEST_EFFECT = 0.6
"""The effect of depth is kept within this, of either sign, whatever the rounds say."""


@dataclass(frozen=True, kw_only=True)
class Efficient:
    """Least expected time to progress: limit and tiers with the smallest expected round time per progress of the round.

    A round with limit T gives each client the tier that gets furthest of those with T_k(m) <= T (of equal ones the
    deepest), or the deepest, which spares the server work even where it gets less far. It lasts as long as the server's
    queue makes it, and longer if a client has changed since it was measured: then it is as fast as one of the
    participants. Tiers in which that would last longest can be given up, where clients have another within the limit. A
    round gets as far as the mean of its clients' tiers, weighted by images. A tier's progress is linear in its depth,
    from 1 / ``rounds_ratio`` in the shallowest to 1 in the deepest, until the training losses of the rounds correct it.
    All limits are ranked by a bound of the round's time; the first few, and the paper's, are simulated on the queue,
    with every number of tiers given up.

    ``rounds_ratio`` is the prior: how many times as many rounds the shallowest tier needs as the deepest. 1 takes all
    tiers for equal until the losses speak, below 1 deep ones are slower; the paper's published times suggest 1.6.
    """

    uses_times: ClassVar[bool] = True
    rounds_ratio: Annotated[float, Field(ge=0.625, le=2.5)] = 1.0

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers of the participants."""
        estimates = choice.estimates or _nothing_known(choice.times_s_KM)
        progress_M = self.progress(estimates, len(choice.tiers_M))
        limit = best_limit(choice.times_s_KM, estimates, progress_M, choice.open_KM)
        tiers: IntArray = choice.tiers_M[columns_within(limit, choice.open_times_s_KM)]
        return tiers

    def progress(self, estimates: RoundEstimates, tiers: int) -> FloatArray:
        """Return each tier's progress in a round relative to the deepest tier's, from prior and losses."""
        prior = 1 - 1 / self.rounds_ratio
        effect = (EVIDENCE * prior + estimates.depth_gain) / (EVIDENCE + estimates.depth_spread)
        progress_M: FloatArray = 1 - np.clip(effect, -LARGEST_EFFECT, LARGEST_EFFECT) * (1 - depths(tiers))
        return progress_M


def _nothing_known(times_s_KM: FloatArray) -> RoundEstimates:
    """Return estimates without a queue, with equal clients."""
    count = len(times_s_KM)
    return RoundEstimates(
        arrival_s_KM=np.zeros_like(times_s_KM),
        streaming_s_KM=times_s_KM,
        service_s_KM=np.zeros_like(times_s_KM),
        server_workers=count,
        images_K=np.ones(count),
        first_tiers_K=np.zeros(count, dtype=np.int64),
    )


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a round may be: no T_k(m) above ``seconds``, and a closed tier only where no open one is within.

    Of its tiers within the limit a client takes the one with the highest ``rank_M``, each of 0..M-1.
    """

    seconds: float
    open_M: BoolArray
    rank_M: IntArray


def time_to_progress(
    column_K: IntArray, times_s_KM: FloatArray, estimates: RoundEstimates, progress_M: FloatArray, every: int = 1
) -> float:
    """Return the expected seconds of a round with these tiers (columns), queue included, per progress of the round.

    Each client represents ``every`` clients like it.
    """
    rows_K = np.arange(len(column_K))
    time_s = times_s_KM[rows_K, column_K].max(initial=0.0)
    if estimates.server_workers < len(column_K):
        done_s_K = done_s(
            estimates.arrival_s_KM[rows_K, column_K],
            estimates.streaming_s_KM[rows_K, column_K],
            estimates.service_s_KM[rows_K, column_K],
            estimates.server_workers,
        )
        time_s = max(time_s, done_s_K.max())
    if estimates.change_rate > 0:
        time_s += _expected_lateness_s(column_K, times_s_KM, estimates, time_s, every)
    return float(time_s / np.average(progress_M[column_K], weights=estimates.images_K))


def _expected_lateness_s(
    column_K: IntArray, times_s_KM: FloatArray, estimates: RoundEstimates, time_s: float, every: int
) -> float:
    """Return by how much longer than ``time_s`` changed clients are expected to make the round, but for the queue.

    A changed client has an example's resources and the mean number of images of the clients in its tier: it keeps its
    data. Transfers of weights, which do not go with images, are scaled with the rest.
    """
    tiers = times_s_KM.shape[1]
    there_M = np.bincount(column_K, minlength=tiers)
    images_M = np.bincount(column_K, weights=estimates.images_K, minlength=tiers) / np.maximum(there_M, 1)
    some = slice(None, None, -(-len(times_s_KM) // EXAMPLES))
    changed_s_JM = times_s_KM[some] * images_M / estimates.images_K[some, None]
    return lateness_s(every * there_M, changed_s_JM - time_s, estimates.change_rate)


def lateness_s(clients_M: IntArray, late_s_JM: FloatArray, change_rate: float) -> float:
    """Return by how many seconds a round is expected to be prolonged by clients that have changed.

    Args:
        clients_M: clients in each tier.
        late_s_JM: by how much each of J examples would prolong the round in each tier; what is negative does not.
        change_rate: probability that a client has become like one of the examples, any with equal probability.
    """
    late_s_JM = np.sort(np.maximum(late_s_JM, 0.0), axis=0)
    edge_s_E = np.unique(np.append(late_s_JM, 0.0))
    # Nobody is later than an edge if no client of any tier is: E[max] is the integral of the contrary's probability.
    in_time_E = np.ones(len(edge_s_E) - 1)
    for clients, late_s_J in zip(clients_M, late_s_JM.T, strict=True):
        later_E = 1 - np.searchsorted(late_s_J, edge_s_E[:-1], side="right") / len(late_s_J)
        in_time_E *= (1 - change_rate * later_E) ** clients
    return float(((1 - in_time_E) * np.diff(edge_s_E)).sum())


def merits(progress_M: FloatArray) -> IntArray:
    """Return the rank of each tier (column), from 0: further is better, and of equally far ones the deeper."""
    return np.lexsort((np.arange(len(progress_M)), progress_M)).argsort()


def columns_within(limit: Limit, times_s_KM: FloatArray) -> IntArray:
    """Return each client's best column within the limit, in closed tiers if it has no other; it must have one."""
    tiers = len(limit.rank_M)
    best_K = np.where(times_s_KM <= limit.seconds, limit.rank_M + tiers * limit.open_M, -1).max(axis=1)
    column_K: IntArray = limit.rank_M.argsort()[best_K % tiers]
    return column_K


def best_limit(
    times_s_KM: FloatArray, estimates: RoundEstimates, progress_M: FloatArray, open_KM: BoolArray | None = None
) -> Limit:
    """Return the limit with the least time to progress; of more than `EXACT` clients every n-th represents n.

    Of limits that differ by less than `WORTHWHILE` the one with the deepest tiers is taken: nobody is to offload more,
    and to leak more, for next to nothing. ``open_KM``: see `TierChoice.open_KM`.
    """
    open_s_KM = times_s_KM if open_KM is None else np.where(open_KM, times_s_KM, np.inf)
    papers_s = float(open_s_KM.min(axis=1).max())
    every = -(-len(times_s_KM) // EXACT)
    times_s_KM, estimates = _thinned(times_s_KM, estimates, every)
    open_s_KM = open_s_KM[::every]

    scored = []
    for rank_M in np.unique([merits(progress_M), np.arange(len(progress_M))], axis=0):
        for seconds in shortlist(open_s_KM, estimates, progress_M, rank_M, papers_s).tolist():
            for limit in _closing(seconds, rank_M, times_s_KM, estimates):
                column_K = columns_within(limit, open_s_KM)
                score = time_to_progress(column_K, times_s_KM, estimates, progress_M, every)
                scored.append((score, float(np.average(column_K, weights=estimates.images_K)), limit))
    least = min(score for score, _, _ in scored)
    worthwhile = [candidate for candidate in scored if candidate[0] <= (1 + WORTHWHILE) * least]
    return min(worthwhile, key=lambda candidate: (-candidate[1], candidate[0]))[2]


def _closing(seconds: float, rank_M: IntArray, times_s_KM: FloatArray, estimates: RoundEstimates) -> list[Limit]:
    """Return a limit with all tiers open and, if clients change, with ever more closed: those of the latest first."""
    all_open_M = np.ones(len(rank_M), dtype=np.bool_)
    if estimates.change_rate == 0:
        return [Limit(seconds=seconds, open_M=all_open_M, rank_M=rank_M)]
    mean_images = estimates.images_K.mean()
    late_s_M = np.maximum(times_s_KM * mean_images / estimates.images_K[:, None] - seconds, 0.0).mean(axis=0)
    return [Limit(seconds=seconds, open_M=late_s_M <= most_s, rank_M=rank_M) for most_s in np.unique(late_s_M)]


def _thinned(times_s_KM: FloatArray, estimates: RoundEstimates, every: int) -> tuple[FloatArray, RoundEstimates]:
    """Return every n-th of the clients, before a server of an n-th of the capacity: fewer workers, or slower ones."""
    if every == 1:
        return times_s_KM, estimates
    fewer = estimates.server_workers >= every
    return times_s_KM[::every], replace(
        estimates,
        arrival_s_KM=estimates.arrival_s_KM[::every],
        streaming_s_KM=estimates.streaming_s_KM[::every],
        service_s_KM=estimates.service_s_KM[::every] * (1 if fewer else every),
        server_workers=estimates.server_workers // every if fewer else estimates.server_workers,
        images_K=estimates.images_K[::every],
        first_tiers_K=estimates.first_tiers_K[::every],
    )


def shortlist(
    times_s_KM: FloatArray, estimates: RoundEstimates, progress_M: FloatArray, rank_M: IntArray, papers_s: float
) -> FloatArray:
    """Return the paper's limit, and the limits with the least bound of the time to progress.

    With one limit after the other, ascending, some client takes up a better tier; its gains in progress and its
    changes of the server's work are summed up. The round cannot be shorter than the limit, nor than the server's
    whole work, dealt out evenly to the workers, after the first data are there.
    """
    order_KM = np.argsort(times_s_KM, axis=1, kind="stable")
    ascending_s_KM = np.take_along_axis(times_s_KM, order_KM, axis=1)
    best_KM = rank_M.argsort()[np.maximum.accumulate(rank_M[order_KM], axis=1)]
    gain_KM = _rises(estimates.images_K[:, None] * progress_M[best_KM])
    work_s_KM = _rises(np.take_along_axis(estimates.service_s_KM, best_KM, axis=1))

    steps = np.argsort(ascending_s_KM, axis=None, kind="stable")
    limit_s_S = ascending_s_KM.ravel()[steps]
    server_s_S = estimates.arrival_s_KM.min() + np.cumsum(work_s_KM.ravel()[steps]) / estimates.server_workers
    # Below the paper's limit a client has no tier, at infinity one that is closed to it; of equal limits the last is
    # the one with all their steps taken.
    whole_S = (limit_s_S >= papers_s) & (limit_s_S < np.inf) & np.append(limit_s_S[1:] > limit_s_S[:-1], True)
    score_S = np.maximum(limit_s_S, server_s_S)[whole_S] / np.cumsum(gain_KM.ravel()[steps])[whole_S]
    few = np.argsort(score_S, kind="stable")[:SHORTLIST]
    return np.concatenate([[papers_s], limit_s_S[whole_S][few]])


def _rises(values_KM: FloatArray) -> FloatArray:
    """Return by how much each value differs from the one to its left; the first from 0."""
    return np.diff(values_KM, axis=1, prepend=0.0)
