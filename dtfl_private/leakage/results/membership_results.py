"""From membership scores and the true members to results: AUC, accuracy and true-positive rates, against chance."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dtfl_private.leakage import membership_metrics as membership
from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import Advantage, auc_p_value, distinct, tpr_p_value
from dtfl_private.protocol.contracts import FloatArray


def membership_results(guesses: Sequence[Tensor], member: Tensor, heading: Heading) -> list[Result]:
    """Score membership guesses (candidates,) of each repetition by which candidates are members, bool (candidates,)."""
    members_SM, others_SK = member_scores(guesses, member)
    sizes = {"n": members_SM.shape[1] + others_SK.shape[1], "seeds": len(members_SM)}
    found = membership.auc_interval(members_SM, others_SK, heading.draws("auc"))
    advantage = _beyond(found, 0.5, auc_p_value(members_SM, others_SK))
    results = [heading.result("auc", found, baseline=("chance", 0.5), advantage=advantage, **sizes)]
    found = membership.accuracy_interval(members_SM, others_SK, heading.draws("balanced-accuracy"))
    results.append(heading.result("balanced-accuracy", found, baseline=("chance", 0.5), **sizes))
    for fpr in membership.LOW_FPRS:
        shown = membership.chance_tpr(others_SK.shape[1], fpr)
        name = f"tpr-at-fpr-{fpr:g}"
        found = membership.tpr_interval(members_SM, others_SK, fpr, heading.draws(name))
        advantage = _beyond(found, shown, tpr_p_value(members_SM, others_SK, fpr))
        results.append(heading.result(name, found, baseline=("chance", shown), advantage=advantage, **sizes))
    return results


def member_scores(guesses: Sequence[Tensor], member: Tensor) -> tuple[FloatArray, FloatArray]:
    """Return the scores (S, M) of members and (S, K) of non-members, in the S repetitions that differ."""
    scored = np.stack([guesses[place].double().cpu().numpy() for place in distinct(guesses)])
    inside = member.cpu().numpy()
    return scored[:, inside], scored[:, ~inside]


def _beyond(found: Interval, chance: float, p_value: float) -> Advantage:
    """Return the advantage over a level of chance, which is known exactly."""
    beyond = Interval(value=found.value - chance, low=found.low - chance, high=found.high - chance)
    return Advantage(found=beyond, p_value=p_value)
