"""Sessions in Flower's own messages: one for each turn, of which a round is one; for networks with one open port."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dtfl_private.deployed.flower.attendance import Attendance
from dtfl_private.deployed.flower.content import Answer, Turn
from dtfl_private.deployed.flower.courier import Courier, Letter, Reply
from dtfl_private.deployed.flower.invitations import AGAIN_S, LAST_ANSWERS_S, REFUSED_AGAIN_S
from dtfl_private.deployed.flower.turns import RelayedSession
from dtfl_private.deployed.sessions.transport import Greet

TURN_S = 120.0
"""That Flower and a new process may take for a turn, beside what the client computes."""

LEAST_WITHIN_S = 1800.0
"""For which a turn is good, at least: clients read their images in it."""


@dataclass(frozen=True, kw_only=True)
class Relays:
    """Clients answer in the replies to messages (`Entrance`).

    Attributes:
        courier: to Flower.
        within_s: for which the message of a round is good: whoever gets it later must not train any more.
        say: called with a line for people.
    """

    courier: Courier
    within_s: float
    say: Callable[[str], None]

    @property
    def expires(self) -> None:
        """Never: nobody connects."""
        return

    @property
    def turn_s(self) -> float:
        """Some seconds of Flower's, and those in which a process starts."""
        return TURN_S

    def let_in(self, *, clients: int, largest: int, greet: Greet, turned_away: Callable[[str], None]) -> "OpenRelays":
        """Begin with each client that is online, whenever it has no session."""
        opened = OpenRelays(self, clients, largest, greet)
        self.courier.start(opened.attendance.seen, largest)
        return opened


class OpenRelays:
    """Holds the sessions of all clients, until it is closed."""

    address = "Flower"

    def __init__(self, entrance: Relays, clients: int, largest: int, greet: Greet) -> None:
        self._entrance, self._largest, self._greet = entrance, largest, greet
        self.attendance = Attendance(clients, self._begin, entrance.say)

    def close(self) -> None:
        """Begin with nobody any more, and send what still waits."""
        self._entrance.courier.close(LAST_ANSWERS_S)

    def _begin(self, node: int, client: int) -> None:
        """Ask for a client's first frame."""
        said = partial(self._hello, node, client, time.monotonic())
        self._send(node, client, (), said)

    def _hello(self, node: int, client: int, began_s: float, reply: Reply) -> None:
        """Open a session with whoever has answered, and greet it."""
        answer = reply.answer
        if answer.outcome != "done" or len(reply.frames) != 1:
            why = answer.why or f"{len(reply.frames)} frames came, expected one"
            self._left(node, client, answer.model_copy(update={"why": why}))
            return
        session: RelayedSession

        def post(frames: Sequence[bytes]) -> None:
            self._send(node, client, frames, session.answered)

        gone = partial(self._left, node, client)
        session = RelayedSession(self._largest, reply.frames[0], time.monotonic() - began_s, post=post, gone=gone)
        name = f"greet client {client}"
        threading.Thread(target=self._greet, args=(client, session, f"node {node}"), daemon=True, name=name).start()

    def _left(self, node: int, client: int, answer: Answer | None) -> None:
        if answer is not None:
            self._entrance.say(f"client {client} (node {node}): {answer.outcome}: {answer.why}")
        is_refused = answer is not None and answer.outcome == "refused"
        self.attendance.left(client, REFUSED_AGAIN_S if is_refused else AGAIN_S)

    def _send(self, node: int, client: int, frames: Sequence[bytes], answered: Callable[[Reply], None]) -> None:
        fields, within_s = Turn(client=client), max(self._entrance.within_s, LEAST_WITHIN_S)
        letter = Letter(node=node, fields=fields, frames=frames, within_s=within_s, answered=answered)
        self._entrance.courier.post(letter)
