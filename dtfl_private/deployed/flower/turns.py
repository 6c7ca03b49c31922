"""A session that travels in turns: all frames of one side in a message of Flower's, all of the other's in its reply.

For networks with one open port. Frames, checks and what either side does are those of a session over a stream.
"""

import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from dtfl_private.deployed.flower.content import MOST_BYTES, MOST_FRAMES, Answer
from dtfl_private.deployed.flower.courier import Reply
from dtfl_private.deployed.sessions.channel import Channel, ChannelClosedError
from dtfl_private.deployed.sessions.session import Session, SessionLostError
from dtfl_private.deployed.wire.checks import check_hello
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import FIRST_LARGEST, decode, encode
from dtfl_private.deployed.wire.kinds import Finish, OpenRound, Scale, Welcome, WireMessage
from dtfl_private.errors import InputError

ALL_READ = "nothing more is in the message"


class TurnSession(Session):
    """A session as a client has it for one turn.

    Args:
        frames: of the server.

    Attributes:
        all_read: whether the client has read all of them.
    """

    def __init__(self, frames: Sequence[bytes]) -> None:
        super().__init__("server", FIRST_LARGEST)
        self.incoming, self.outgoing = Channel(MOST_FRAMES), Channel(MOST_FRAMES)
        self.all_read = False
        self._open: tuple[int, float] | None = None
        for frame in frames:
            self.arrived(frame)

    def send_packed(self, frame: bytes, timeout_s: float | None = None) -> None:
        """Keep a frame for the reply.

        Raises:
            InputError: the reply would be larger than Flower can carry.
        """
        super().send_packed(frame, timeout_s)
        if self.bytes_out > MOST_BYTES:
            raise InputError(
                f"a round of this client has more than {MOST_BYTES:,} bytes, too many for one reply: "
                "the run needs transport session"
            )

    def receive(self, timeout_s: float | None = None) -> WireMessage:
        """Return the next frame; as nobody can say it meanwhile, this side tells itself when the deadline is here.

        Raises:
            SessionLostError: there is none, and none will come.
            TimeoutError: there is none now.
            WireError: it is no frame, or of another session.
        """
        try:
            message = super().receive(0.0)
        except TimeoutError:
            if timeout_s != 0.0:
                self.all_read = True
                raise SessionLostError(ALL_READ) from None
            if self._open is None or time.monotonic() < self._open[1]:
                raise
            number, self._open = self._open[0], None
            return Finish(session=self.number, round=number)
        if isinstance(message, OpenRound):
            self._open = message.message.round, time.monotonic() + message.deadline_s
        return message

    def said(self) -> list[bytes]:
        """Return the frames that the client has sent."""
        return _waiting(self.outgoing)


class RelayedSession(Session):
    """A session as the server has it, whose frames wait for their turn.

    A client is a new process in each turn, which has to be greeted anew: the frames that open the session go with every
    message, and what the client said to them must be the same each time.

    Args:
        largest: bytes of the largest frame that is taken.
        hello: the client's first frame.
        hello_s: how long the turn took that has brought it.
        post: called with the frames of a turn; `answered` is to be called with what came of it.
        gone: called once, when the session is lost and no turn is under way; with the answer that has ended it, if one
            has.
        clock: seconds since any moment.
    """

    def __init__(
        self,
        largest: int,
        hello: bytes,
        hello_s: float,
        *,
        post: Callable[[Sequence[bytes]], None],
        gone: Callable[[Answer | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("client", largest)
        self.incoming, self.outgoing = Channel(MOST_FRAMES), Channel(MOST_FRAMES)
        self._post, self._gone, self._clock = post, gone, clock
        self._opening: list[bytes] = []
        self._said = [hello]
        self._opened = self._asked = 0
        self._turn_s, self._began_s = hello_s, 0.0
        self._under_way = self._was_gone = False
        self._ended_by: Answer | None = None
        self._turn = threading.RLock()
        self.arrived(hello)

    @property
    def fixed_latency_s(self) -> float:
        """Seconds one way, by the fastest turn so far: speeds cannot be told from Flower's own waiting."""
        return self._turn_s / 2

    def send(self, message: WireMessage, timeout_s: float | None = None) -> None:
        """Keep a frame for the next turn, or for all turns if it opens the session."""
        if not isinstance(message, Welcome | Scale):
            super().send(message, timeout_s)
        elif self.is_lost:
            raise SessionLostError(self.why_lost)
        else:
            self._opening.append(encode(message))

    def receive(self, timeout_s: float | None = None) -> WireMessage:
        """Return the next frame of the client, after a turn if there is none."""
        self._take_turn()
        return super().receive(timeout_s)

    def finish(self, timeout_s: float = 5.0, why: str = "it was closed") -> None:
        """End the session; what waits goes in a last message, unless a turn is under way."""
        with self._turn:
            last = [] if self._under_way or self.is_lost else _waiting(self.outgoing)
            if last:
                self._give(last)
        self.lose(why)

    def lose(self, why: str) -> None:
        """End the session."""
        super().lose(why)
        self._leave()

    def answered(self, reply: Reply) -> None:
        """Take what came of a turn."""
        with self._turn:
            self._under_way = False
            self._turn_s = min(self._turn_s, self._clock() - self._began_s)
        try:
            if reply.answer.outcome in ("lost", "refused"):
                self._ended_by = reply.answer
                raise WireError(f"{reply.answer.outcome}: {reply.answer.why}")
            for frame in self._new(reply.frames):
                self.arrived(frame)
        except WireError as error:
            self.lose(str(error))
        except ChannelClosedError:  # the session was given up meanwhile
            pass
        self._leave()

    def _take_turn(self) -> None:
        with self._turn:
            if self.is_lost or self._under_way or self.incoming.waiting:
                return
            frames = _waiting(self.outgoing)
            if not frames and len(self._opening) == self._opened:
                self.lose("the client's reply ends too early")
                return
            self._asked += bool(frames)
            self._give(frames)

    def _give(self, frames: Sequence[bytes]) -> None:
        self._opened, self._under_way, self._began_s = len(self._opening), True, self._clock()
        self.bytes_out += sum(map(len, self._opening))
        self._post([*self._opening, *frames])

    def _new(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Return the frames that come after the greeting, which is checked; the first greeting is all new."""
        known = len(self._said)
        if not frames:
            raise WireError("the client's reply has no frame")
        check_hello(decode(frames[0], from_="client", largest=self.largest), version=version("dtfl-private"))
        if list(frames[1:known]) != self._said[1:]:
            raise WireError("the client says something else of its images than in the turn before")
        if not self._asked:  # all that was said so far opens the session, and so does what was answered
            self._said = list(frames)
        self.bytes_in += sum(map(len, frames[:known]))
        return frames[known:]

    def _leave(self) -> None:
        with self._turn:
            is_gone = self.is_lost and not self._under_way and not self._was_gone
            self._was_gone |= is_gone
        if is_gone:
            self._gone(self._ended_by)


def _waiting(channel: Channel) -> list[bytes]:
    """Return all frames that wait in a channel."""
    frames = []
    while channel.waiting:
        frames.append(channel.get(0.0))
    return frames
