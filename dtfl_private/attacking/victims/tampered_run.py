"""The last round of a run as a malicious server would have it: other weights, other gradients, some rounds of these."""

from dataclasses import replace

from dtfl_private.attacking.base import Tampering
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.errors import InputError
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.methods.splitfed import SplitFedWork
from dtfl_private.training.methods.u_shaped_work import UShapedWork
from dtfl_private.training.round_sums import Sums
from dtfl_private.training.state import GlobalWeights


def tampered_run(opened: OpenedRun, tampering: Tampering) -> OpenedRun:
    """Return a run whose next round to be played is the last one that the malicious server tampers with.

    The rounds before it are played with the clients of the run's last round, who drop out as they did there; their
    models are averaged as the method says, and their guards remember.

    Raises:
        InputError: gradients are to be returned where none are.
    """
    weights = opened.before.weights
    planted = GlobalWeights(model={**weights.model, **tampering.weights}, heads=weights.heads)
    opened = replace(opened, before=replace(opened.before, weights=planted))
    if tampering.answer is None:
        return opened
    worker = opened.prepared.worker
    if not isinstance(worker.work, SplitFedWork | UShapedWork):
        raise InputError(f"in a run of {opened.method_name} no gradients go back to the clients")
    worker = replace(worker, work=replace(worker.work, answer=tampering.answer))
    opened = replace(opened, prepared=replace(opened.prepared, worker=worker))
    for _ in range(tampering.rounds - 1):
        opened = _after_a_round(opened)
    return opened


def _after_a_round(opened: OpenedRun) -> OpenedRun:
    """Return the run one round later."""
    state, plan, method = opened.before, opened.plan, opened.prepared.method
    sums = Sums(state, method.also_sent, NO_TRAFFIC)
    for result in method.train(plan, state, InProcess(opened.prepared.worker)):
        sums.add(result)
    weights, extras = method.combine(state, sums)
    later = replace(state, round=plan.round, weights=weights, extras=extras, memories=sums.memories)
    return replace(opened, before=later, plan=replace(plan, round=plan.round + 1))
