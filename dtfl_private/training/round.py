"""One round: the map of the project, the same for every training method.

schedule -> (client half -> messages -> server half) per client -> join -> average -> evaluate -> record

That is DTFL's; what another method does otherwise stands in its own file below ``methods``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.models.norms import Norm
from dtfl_private.privacy.budget import spent_clients
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.guarantees import Disclosure
from dtfl_private.protocol.messages import State
from dtfl_private.simulation.round_clock import ClockKind, RoundClock, SimulatedClock
from dtfl_private.simulation.round_plan import RoundPlan, planned_macs
from dtfl_private.simulation.schedule_round import learn_progress
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.training.executor import Executor
from dtfl_private.training.judging import JudgedImages, judge
from dtfl_private.training.method import Method
from dtfl_private.training.optimizers import PlateauSettings, decay_on_plateau
from dtfl_private.training.round_progress import RoundProgress
from dtfl_private.training.round_sums import Sums
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import Evaluation

# What e can be taken to the power of in float64.
LARGEST_EXPONENT = 709.0


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """All that a round depends on but its state.

    ``registration``: bytes sent before round 1, counted in it; ``norms``: kinds of norm layers of the network;
    ``judged``: images for accuracy and loss of test; ``validation``: for those of validation, None without any, and
    equal to ``judged`` in a run that is judged on its validation images; ``clock``: what makes the rounds' times.
    """

    schedule: ScheduleSettings
    plateau: PlateauSettings
    privacy: PrivacySettings
    registration: Mapping[str, int] = field(default_factory=lambda: NO_TRAFFIC)
    norms: frozenset[Norm] = frozenset()
    judged: JudgedImages
    validation: JudgedImages | None = None
    clock: RoundClock = field(default_factory=SimulatedClock)


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """The figures of a finished round.

    Losses are means over the participants that completed it, weighted by their examples; None when nobody did.
    ``privacy`` says what has been disclosed since the start, by the client that is worst off; ``remarks`` are the
    client-side guards'; ``retired`` clients had no budget left for this round; ``validation`` is None where a run has
    no validation images, and of no image where nobody can judge his yet; ``clock``: what the times are of;
    ``perplexity``: of a language model on the test texts.
    """

    plan: RoundPlan
    virtual_time_s: float
    test_accuracy: float
    test_loss: float
    local_loss: float | None
    server_loss: float | None
    lr: float
    traffic: Mapping[str, int]
    macs: Mapping[str, int]
    privacy: Sequence[Disclosure]
    remarks: Sequence[tuple[int, Remark]]
    retired: Sequence[int]
    validation: Evaluation | None = None
    clock: ClockKind = "simulated"
    perplexity: float | None = None


def run_round(
    method: Method, state: FederatedState, settings: RoundSettings, executor: Executor, progress: RoundProgress
) -> tuple[FederatedState, RoundOutcome]:
    """Return the state after one more round, and the round's figures.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite.
    """
    number = state.round + 1
    retired = spent_clients(state.ledgers, settings.privacy)
    planned = settings.clock.begin(state.schedule, settings.schedule, number, retired)
    plan = planned.plan
    progress.round_planned(plan)

    sums = Sums(state, method.also_sent, settings.registration if number == 1 else NO_TRAFFIC)
    for result in method.train(plan, state, executor):
        sums.add(result)
        progress.client_trained(result.client)

    weights, extras = method.combine(state, sums)
    weights = method.measured(plan, state, weights, sums, executor)
    schedule, plan = settings.clock.close(planned, settings.schedule)
    judged = judge(method, executor, weights, extras, settings.judged)
    _require_finite(judged, number, "test")
    validated = _validated(method, executor, weights, extras, settings, judged)
    if validated is not None:
        _require_finite(validated, number, "validation")
    outcome = RoundOutcome(
        plan=plan,
        virtual_time_s=schedule.clock.now_s,
        test_accuracy=judged.correct / judged.images,
        test_loss=judged.loss_sum / judged.images,
        local_loss=sums.local_loss,
        server_loss=sums.server_loss,
        lr=state.plateau.lr,
        traffic=sums.traffic,
        macs=planned_macs(plan, settings.schedule.table),
        privacy=_disclosed(method, sums, settings.privacy),
        remarks=sums.remarks,
        retired=sorted(retired),
        validation=validated,
        clock=settings.clock.kind,
        perplexity=_perplexity(judged) if settings.privacy.next_tokens else None,
    )
    learned = learn_progress(schedule, plan, settings.schedule, sums.whole_loss)
    return _state_after(state, learned, settings.plateau, weights, extras, sums), outcome


def _perplexity(judged: Evaluation) -> float:
    """Return e to the power of the mean loss, which stays a number however large that is."""
    return math.exp(min(judged.loss_sum / judged.images, LARGEST_EXPONENT))


def _state_after(
    before: FederatedState,
    schedule: ScheduleState,
    plateau: PlateauSettings,
    weights: GlobalWeights,
    extras: State,
    sums: Sums,
) -> FederatedState:
    """Return the state that the next round begins with; the learning rate decays by the loss of this one."""
    loss = sums.whole_loss
    return FederatedState(
        round=before.round + 1,
        weights=weights,
        schedule=schedule,
        plateau=before.plateau if loss is None else decay_on_plateau(before.plateau, loss, plateau),
        ledgers=sums.ledgers,
        memories=sums.memories,
        extras=extras,
    )


def _validated(
    method: Method,
    executor: Executor,
    weights: GlobalWeights,
    extras: State,
    settings: RoundSettings,
    judged: Evaluation,
) -> Evaluation | None:
    """Return how the model does on validation images; ``judged`` is how it does on what it is judged on anyhow."""
    images = settings.validation
    if images is None or images == settings.judged:
        return None if images is None else judged
    return judge(method, executor, weights, extras, images)


def _require_finite(judged: Evaluation, number: int, which: str) -> None:
    if not math.isfinite(judged.loss_sum):
        raise NonFiniteLossError(
            f"the {which} loss of the averaged model became {judged.loss_sum} in round {number}: "
            "start again with a lower --lr"
        )


def _disclosed(method: Method, sums: Sums, privacy: PrivacySettings) -> Sequence[Disclosure]:
    return disclosures(
        privacy.defense,
        sums.ledgers,
        sends=method.sends,
        full_tier=method.full_tier,
        statistics=privacy.statistics,
        assumed=privacy.assumed,
        next_tokens=privacy.next_tokens,
    )
