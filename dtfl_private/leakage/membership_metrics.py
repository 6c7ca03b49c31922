"""Scores of membership inference: how well an attack's scores tell members from non-members.

A higher score says "member". Scores are (S, M) of members and (S, K) of non-members, under S repetitions (seeds).
Carlini et al. 2022 (Membership inference attacks from first principles, arXiv 2112.03570): report the true-positive
rate at low false-positive rates, not only averages.
"""

from collections.abc import Sequence

import numpy as np

from dtfl_private.leakage.intervals import Interval, Statistic, bootstrap, checked_seeds, with_share_bound
from dtfl_private.protocol.contracts import FloatArray, IntArray

LOW_FPRS = (0.01, 0.001)


def smallest_fpr(nonmembers: int) -> float:
    """Return the smallest false-positive rate but 0 that this many non-members can show: one of them."""
    return 1 / nonmembers


def chance_tpr(nonmembers: int, fpr: float) -> float:
    """Return the mean of `tpr_at` for scores that say nothing: above ``fpr``, by less the more non-members there are.

    A member's rank among K non-members is uniform; it passes if at most floor(fpr K) of them score higher.
    """
    return (int(fpr * nonmembers * (1 + 1e-9)) + 1) / (nonmembers + 1)


def auc(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
    """Return the area under the ROC curve of each draw; a `Statistic` of members and non-members.

    It is the Mann-Whitney statistic: the probability that a member scores higher than a non-member, ties counted half.
    """
    false_BU, true_BU = _roc(groups, counts)
    heights_BU = (true_BU[:, 1:] + true_BU[:, :-1]) / 2
    return np.asarray((np.diff(false_BU, axis=1) * heights_BU).sum(axis=1))


def placements(members_SM: FloatArray, nonmembers_SK: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what each member (S, M) and each non-member (S, K) adds to the AUC: the means of both add up to it.

    A member's share of the non-members below it, and less the AUC a non-member's share of the members above it, ties
    counted half. So the AUC, or the difference of two, varies as two means do (DeLong, DeLong and Clarke-Pearson 1988,
    Biometrics 44).
    """
    pairs = list(zip(members_SM, nonmembers_SK, strict=True))
    of_members_SM = np.stack([_share_below(members, others) for members, others in pairs])
    of_others_SK = np.stack([1 - _share_below(others, members) for members, others in pairs])
    return of_members_SM, of_others_SK - of_others_SK.mean(axis=1, keepdims=True)


def _share_below(scores_N: FloatArray, among: FloatArray) -> FloatArray:
    """Return for each score the share of others that are below it, equal ones counted half."""
    order = np.sort(among)
    below, up_to = (np.searchsorted(order, scores_N, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(among)))


def tpr_at(fpr: float) -> Statistic:
    """Return the statistic: share of members found by the lowest threshold with at most this share of false alarms.

    Equal scores are on the same side of a threshold, and nothing is interpolated: a rate that can be had without
    knowing the non-members' order. With fewer than 1/fpr non-members it is the rate without any false alarm.
    """

    def statistic(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
        false_BU, true_BU = _roc(groups, counts)
        # Rates are quotients of counts: 1/100 may differ from 0.01 in the last digit.
        return np.asarray(np.where(false_BU <= fpr * (1 + 1e-9), true_BU, 0).max(axis=1))

    return statistic


def auc_interval(members_SM: FloatArray, nonmembers_SK: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the area under the ROC curve; by chance 0.5; of groups that are quite apart with the exact bound.

    If all M members score above all K non-members, so do min(M, K) independent pairs of one of each: each pair does
    with the probability A of the area, and A^min(M, K) is below 0.025 if A is below 0.025^(1 / min(M, K)). No bound
    without assumptions is better: where one of the groups has a single score, A^min(M, K) is the probability itself.
    """
    found = bootstrap([members_SM, nonmembers_SK], auc, rng, span=(0.0, 1.0))
    return with_share_bound(found, min(members_SM.shape[1], nonmembers_SK.shape[1]))


def tpr_interval(members_SM: FloatArray, nonmembers_SK: FloatArray, fpr: float, rng: np.random.Generator) -> Interval:
    """Return the true-positive rate at this false-positive rate, see `tpr_at`; by chance `chance_tpr` on average."""
    found = bootstrap([members_SM, nonmembers_SK], tpr_at(fpr), rng, span=(0.0, 1.0))
    return with_share_bound(found, members_SM.shape[1])


def correct(members_M: FloatArray, nonmembers_K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each member (M,) and non-member (K,) whether a threshold puts it on the right side: 1 or 0.

    The threshold is the best one, by balanced accuracy, on the records of the other half (even and odd positions):
    the best one on the judged records themselves would show more than 0.5 even where there is nothing to see.

    Raises:
        ValueError: fewer than two members or non-members.
    """
    if min(len(members_M), len(nonmembers_K)) < 2:
        raise ValueError(f"{len(members_M)} members and {len(nonmembers_K)} non-members are too few: at least 2 each")
    right_M, right_K = np.empty(len(members_M)), np.empty(len(nonmembers_K))
    for half in (0, 1):
        threshold = _best_threshold(members_M[1 - half :: 2], nonmembers_K[1 - half :: 2])
        right_M[half::2] = members_M[half::2] >= threshold
        right_K[half::2] = nonmembers_K[half::2] < threshold
    return right_M, right_K


def accuracy_interval(members_SM: FloatArray, nonmembers_SK: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the balanced accuracy with thresholds from the other half of the records, see `correct`; by chance 0.5.

    If shares a of all members and b of all non-members would be right, all M and K are with the probability a^M b^K,
    given the thresholds. With m = min(M, K) this is at most (a b)^m, hence ((a + b) / 2)^(2 m): 2 m cases of a share.
    """
    checked_seeds([members_SM, nonmembers_SK])
    both = [correct(*groups) for groups in zip(members_SM, nonmembers_SK, strict=True)]
    right_SM, right_SK = (np.stack(side) for side in zip(*both, strict=True))
    found = bootstrap([right_SM, right_SK], _balanced, rng, span=(0.0, 1.0))
    return with_share_bound(found, 2 * min(members_SM.shape[1], nonmembers_SK.shape[1]))


def _balanced(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
    shares = [counts_BN @ right_N / counts_BN.sum(axis=1) for right_N, counts_BN in zip(groups, counts, strict=True)]
    return np.asarray(sum(shares) / len(shares))


def _best_threshold(members: FloatArray, nonmembers: FloatArray) -> float:
    """Return the lowest score from which on "member" is right most often, weighing both groups equally."""
    thresholds = np.unique(np.concatenate([members, nonmembers]))
    below_members = np.searchsorted(np.sort(members), thresholds) / len(members)
    below_nonmembers = np.searchsorted(np.sort(nonmembers), thresholds) / len(nonmembers)
    return float(thresholds[np.argmax(below_nonmembers - below_members)])


def _roc(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> tuple[FloatArray, FloatArray]:
    """Return the false- and true-positive rates (B, U + 1) of each draw at the U thresholds, from the highest down.

    The first column is that of a threshold above all scores.
    """
    (members_M, nonmembers_K), (counts_BM, counts_BK) = groups, counts
    thresholds_U = np.unique(np.concatenate([members_M, nonmembers_K]))[::-1]
    return _rates(nonmembers_K, counts_BK, thresholds_U), _rates(members_M, counts_BM, thresholds_U)


def _rates(scores_N: FloatArray, counts_BN: IntArray, thresholds_U: FloatArray) -> FloatArray:
    """Return the share of scores that are at least each threshold (B, U + 1); thresholds descend."""
    order = np.argsort(-scores_N, kind="stable")
    reached_BN = np.concatenate([np.zeros((len(counts_BN), 1)), np.cumsum(counts_BN[:, order], axis=1)], axis=1)
    positions_U = np.searchsorted(-scores_N[order], -thresholds_U, side="right")
    return np.asarray(reached_BN[:, np.concatenate([[0], positions_U])] / counts_BN.sum(axis=1, keepdims=True))
