"""One client's round at the server: its messages are checked, trained on as they arrive, and its update is taken."""

import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from dtfl_private.deployed.server.played_round import Played
from dtfl_private.deployed.server.shared_half import SharedHalf
from dtfl_private.deployed.sessions.session import Session, SessionLostError
from dtfl_private.deployed.wire.checks import ExpectedRound, Received, check_smashed, check_update
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import Closed, Finish, OpenRound, Smashed, Update, WireMessage, Withdrawn
from dtfl_private.protocol.messages import MessageObserver, ModelDownload, WeightUpdate
from dtfl_private.randomness import Lasting
from dtfl_private.training.server import ServerHalf
from dtfl_private.training.tasks import ClientTask

Stragglers = Literal["average", "drop"]
"""What becomes of a client that is not done at the deadline: its update as far as it got is averaged, or left out."""

GRACE = 0.25
"""Share of the deadline that a client has for its update once it was told to finish, and the seconds at least."""
LEAST_GRACE_S = 2.0

LAST_WORDS_S = 0.5
"""Seconds that a client's network has to take what it is told when it is given up."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How rounds are held.

    deadline_s: after so many seconds clients are told to finish.
    stragglers: what becomes of those that are not done by then.
    turn_s: seconds that a frame and its answer may be on their way.
    """

    deadline_s: float
    stragglers: Stragglers = "average"
    turn_s: float = 0.0

    @property
    def grace_s(self) -> float:
        """Seconds between being told to finish and being given up."""
        return max(LEAST_GRACE_S, GRACE * self.deadline_s) + self.turn_s


class GivenUpError(Exception):
    """The client is out for the round; the text says why."""


@dataclass
class _Seen:
    """What a round has come to so far."""

    received: Received = field(default_factory=Received)
    images: int = 0
    traffic: dict[str, int] = field(
        default_factory=lambda: {"down_weights": 0, "up_weights": 0, "up_smashed": 0, "up_labels": 0}
    )
    server_s: float = 0.0
    waited_s: float = 0.0
    told_to_finish: bool = False
    refused: list[str] = field(default_factory=list)


class ServedClient:
    """One client's round.

    Args:
        session: of the client.
        task: its part of the round.
        download: that opens the round.
        expected: what its messages must be.
        server: the modules behind its cut; None for a client that keeps the whole network.
        rules: deadline, and what becomes of stragglers.
        turns: of the server's workers: one is taken for each step.
        draws: what layers of the server's modules draw, if any do.
        device: of the server's modules; activations arrive in the layout that they had, as sums differ otherwise.
        observer: sees each message that was taken.
    """

    def __init__(
        self,
        *,
        session: Session,
        task: ClientTask,
        download: ModelDownload,
        expected: ExpectedRound,
        server: ServerHalf | SharedHalf | None,
        rules: Rules,
        turns: threading.Semaphore,
        draws: Lasting | None,
        device: str,
        observer: MessageObserver,
    ) -> None:
        self._session, self._task, self._download, self._expected = session, task, download, expected
        self._server, self._rules, self._turns, self._device = server, rules, turns, device
        self._draws, self._observe = draws, observer
        self._seen = _Seen()

    def play(self) -> tuple[WeightUpdate | None, float, Played]:
        """Return the client's update, None if it is out for the round, the computing time that it claims, and the rest.

        Whatever a client does, the round goes on without it.
        """
        began_s, bytes_in, bytes_out = time.monotonic(), self._session.bytes_in, self._session.bytes_out
        update: WeightUpdate | None = None
        claimed_s = 0.0
        try:
            update, claimed_s = self._served(began_s)
        except (WireError, GivenUpError) as error:
            self._seen.refused.append(str(error))
        except SessionLostError as error:
            self._seen.refused.append(f"the session ended: {error}")
        except TimeoutError:
            self._give_up(f"no update {self._rules.grace_s:g} s after the deadline")
        seen = self._seen
        played = Played(
            client=self._task.client,
            tier=self._task.tier,
            batches=seen.received.messages,
            images=seen.images,
            completed=update is not None,
            stopped=seen.told_to_finish,
            round_s=time.monotonic() - began_s,
            server_s=seen.server_s,
            waited_s=seen.waited_s,
            bytes_in=self._session.bytes_in - bytes_in,
            bytes_out=self._session.bytes_out - bytes_out,
            traffic=seen.traffic,
            refused=tuple(seen.refused),
        )
        return update, claimed_s, played

    def _give_up(self, why: str) -> None:
        """End the session of a client that does not answer: the next rounds are not to wait for it as well.

        One that is only slow, or was frozen, comes back with a new session, and has none of this round's frames in it.
        """
        self._seen.refused.append(why)
        session, number = self._session, self._task.round
        with suppress(SessionLostError, TimeoutError):  # it may read that once it is awake
            session.send(Closed(session=session.number, round=number, accepted=False, reason=why), timeout_s=0.0)
        session.finish(LAST_WORDS_S, why)

    def _served(self, began_s: float) -> tuple[WeightUpdate, float]:
        deadline_s = began_s + self._rules.deadline_s
        self._open(deadline_s)
        while True:
            message = self._next(deadline_s)
            if message is None:
                deadline_s = self._late(deadline_s)
            elif isinstance(message, Smashed):
                self._train_on(message)
            elif isinstance(message, Update):
                return self._taken(message)
            elif isinstance(message, Withdrawn):
                raise GivenUpError(f"it takes no part: {message.reason}")
            else:
                raise WireError(f"frame '{message.kind}' in the middle of a round")

    def _open(self, deadline_s: float) -> None:
        task = self._task
        opened = OpenRound(
            session=self._session.number,
            message=self._download,
            lr=task.lr,
            batches=task.batches,
            profile=task.profile,
            deadline_s=self._rules.deadline_s,
        )
        self._session.send(opened, deadline_s - time.monotonic())
        self._seen.traffic["down_weights"] += self._download.weight_bytes

    def _next(self, deadline_s: float) -> WireMessage | None:
        """Return the next frame of this round, None at the deadline; what is left of earlier rounds is passed over."""
        while (left_s := deadline_s - time.monotonic()) > 0:  # whatever waits to be read: a deadline is one
            try:
                message = self._session.receive(left_s)
            except TimeoutError:
                return None
            if self._is_late(message):
                continue
            return message
        return None

    def _is_late(self, message: WireMessage) -> bool:
        match message:
            case Smashed(message=inner) | Update(message=inner):
                return inner.round < self._task.round
            case Withdrawn():
                return message.round < self._task.round
        return False

    def _late(self, deadline_s: float) -> float:
        """Tell a client that is not done at the deadline to finish; return until when it has time for that.

        Raises:
            TimeoutError: it has been told before.
            GivenUpError: stragglers are left out.
        """
        if self._seen.told_to_finish:
            raise TimeoutError
        self._seen.told_to_finish = True
        self._session.send(Finish(session=self._session.number, round=self._task.round), self._rules.grace_s)
        if self._rules.stragglers == "drop":
            raise GivenUpError(f"not done after {self._rules.deadline_s:g} s")
        return deadline_s + self._rules.grace_s

    def _train_on(self, frame: Smashed) -> None:
        self._seen.received = check_smashed(frame, self._expected, self._seen.received)
        message, server = frame.message, self._server
        assert server is not None  # a tier without one has no activations
        self._observe(message)
        began_s = time.monotonic()
        with self._turns, nullcontext() if self._draws is None else self._draws.going_on():
            turn_s = time.monotonic()
            smashed, labels = message.smashed.to(self._device), message.labels.to(self._device)
            server.train_on(replace(message, smashed=smashed, labels=labels))
            self._seen.server_s += time.monotonic() - turn_s
        self._seen.waited_s += turn_s - began_s
        self._seen.images = self._seen.received.images
        self._seen.traffic["up_smashed"] += message.smashed_bytes
        self._seen.traffic["up_labels"] += message.label_bytes

    def _taken(self, closing: Update) -> tuple[WeightUpdate, float]:
        check_update(closing, self._expected, self._seen.received)
        update = closing.message
        self._observe(update)
        if self._server is None:
            self._seen.images = closing.images
        self._seen.traffic["up_weights"] += update.weight_bytes
        return update, closing.compute_s
