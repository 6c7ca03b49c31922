"""What a client is asked to do in a round, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import State, Wire, below
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.state import FederatedState


@dataclass(frozen=True, kw_only=True)
class ClientTask:
    """One client's part of a round.

    Attributes:
        tier: client modules m.
        batches: batches that it trains on.
        completes: false if it then drops out.
        sent_batches: batches that it sends, the first ones; None: as many as it trains on.
        memory: what its defenses kept from its last round.
        extras: what the method keeps of it from round to round.
        turns: when the server network that it shares with others takes its batches, ascending numbers among those of
            all clients of the round; empty where it shares none.
        wire: the format in which it sends smashed data, where the server names one.
        profile: name of its resource profile in this round.
        measures: measure batch norm's statistics of the given weights, in place of training.
    """

    client: int
    round: int
    tier: int
    lr: float
    batches: int
    completes: bool
    sent_batches: int | None = None
    memory: State = field(default_factory=dict)
    extras: State = field(default_factory=dict)
    turns: Sequence[int] = ()
    wire: Wire | None = None
    profile: str = ""
    measures: bool = False

    @property
    def sends(self) -> int:
        """How many batches it sends."""
        return self.batches if self.sent_batches is None else self.sent_batches


@dataclass(frozen=True, kw_only=True)
class ClientResult:
    """What the server has of a client at the end of a round.

    ``model`` is the joined full model and ``head`` the auxiliary head, where there is one; both are empty when the
    client dropped out or refused. Of a task that measures, ``model`` is the statistics alone. ``traffic`` counts the
    bytes of the messages as they were sent, by kind. The losses are the simulator's own figures, None where the method
    has no such loss: they are in no message, and a real server would not see the local one. Nor would it see
    ``memory``, what the client's defenses keep for its next round, and ``remarks`` of its guards; ``guarantees`` hold
    of what was sent. ``extras`` is what the method keeps of the client; empty if that is to stay as it was.
    """

    client: int
    tier: int
    examples: int
    model: State
    head: State
    local_loss: float | None
    server_loss: float | None
    traffic: Mapping[str, int]
    memory: State = field(default_factory=dict)
    extras: State = field(default_factory=dict)
    remarks: Sequence[Remark] = ()
    guarantees: Sequence[Guarantee] = ()


ImageSet = Literal["test", "validation"]
"""Images that workers have besides those that clients train on."""


@dataclass(frozen=True, kw_only=True)
class ImageRange:
    """The images start, start + step, ... before stop, or to the end where that is None."""

    on: ImageSet = "test"
    start: int = 0
    stop: int | None = None
    step: int = 1


ALL_TEST_IMAGES = ImageRange()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Sums over images, or over places of texts for a language model: correct answers, cross-entropy, how many."""

    correct: int
    loss_sum: float
    images: int


def total(parts: Sequence[Evaluation]) -> Evaluation:
    """Return the sums over all parts of a set of images."""
    return Evaluation(
        correct=sum(part.correct for part in parts),
        loss_sum=sum(part.loss_sum for part in parts),
        images=sum(part.images for part in parts),
    )


def tasks_of(plan: RoundPlan, state: FederatedState) -> list[ClientTask]:
    """Return the tasks of a plan's participants, ascending by client."""
    unnamed: Sequence[Wire | None] = [None] * len(plan.clients_P)
    return [
        ClientTask(
            client=client,
            round=plan.round,
            tier=tier,
            lr=state.plateau.lr,
            batches=batches,
            sent_batches=sent,
            completes=not dropped,
            memory=state.memories.get(client, {}),
            extras=below(f"client/{client}/", state.extras),
            wire=wire,
            profile=profile,
        )
        for client, tier, batches, sent, dropped, wire, profile in zip(
            plan.clients_P.tolist(),
            plan.tiers_P.tolist(),
            plan.batches_P.tolist(),
            plan.sent_batches_P.tolist(),
            plan.dropped_P.tolist(),
            plan.wires or unnamed,
            plan.profile_names_P,
            strict=True,
        )
    ]


def taking_turns(tasks: Sequence[ClientTask], order: IntArray) -> list[ClientTask]:
    """Return tasks with their turns at a server network: ``order`` holds the place of the task whose batch is next."""
    return [replace(task, turns=tuple(np.flatnonzero(order == place).tolist())) for place, task in enumerate(tasks)]


def whose_turn(tasks: Sequence[ClientTask]) -> list[int]:
    """Return the place of the task whose batch is next, batch by batch; tasks without turns send theirs in a row."""
    turns = [(turn, place) for place, task in enumerate(tasks) for turn in task.turns or range(task.sends)]
    return [place for _, place in sorted(turns)]
