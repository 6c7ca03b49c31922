"""A session as either side holds it: frames out, checked frames in, bytes counted."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from dtfl_private.deployed.sessions.channel import Channel, ChannelClosedError
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import Side, WireMessage

# Frames of up to some megabytes that may wait on either side before the sender has to.
WAITING_FRAMES = 4

F = TypeVar("F", bound=WireMessage)


class SessionLostError(Exception):
    """The other side is gone, or the session has been closed."""


class Session:
    """One stream of frames to another machine and back.

    Args:
        peer: the side at the other end, whose frames are taken.
        largest: bytes of the largest frame that is taken, which may be changed.

    Attributes:
        number: the session's epoch, in every frame; 0 until the server has given one.
        bytes_in: bytes of frames that came, bytes_out: of those that went.
        peer_expires: when the certificate at the other end does; None where nobody has looked.
        why_lost: why it ended, for people; None while it has not.
        when_lost: called once when it has ended.
    """

    def __init__(self, peer: Side, largest: int) -> None:
        self._peer: Side = peer
        self.largest = largest
        self.number = 0
        self.bytes_in = self.bytes_out = 0
        self.peer_expires: datetime | None = None
        self.why_lost: str | None = None
        self.when_lost: Callable[[], None] = lambda: None
        self.incoming, self.outgoing = Channel(WAITING_FRAMES), Channel(WAITING_FRAMES)
        self._lost = threading.Event()
        self._lock = threading.Lock()

    @property
    def fixed_latency_s(self) -> float | None:
        """Seconds one way, where frames travel so that nothing else can be measured of the link; None: it can."""
        return None

    @property
    def is_lost(self) -> bool:
        """Whether it has ended."""
        return self._lost.is_set()

    def send(self, message: WireMessage, timeout_s: float | None = None) -> None:
        """Send a frame; waits while too many are under way.

        Raises:
            SessionLostError: the session has ended.
            TimeoutError: the other side took nothing for so long.
        """
        self.send_packed(encode(message), timeout_s)

    def send_packed(self, frame: bytes, timeout_s: float | None = None) -> None:
        """Send a frame that has been packed already, by `encode`; for the rest see `send`."""
        try:
            self.outgoing.put(frame, timeout_s)
        except ChannelClosedError:
            raise SessionLostError(self.why_lost or "the session has ended") from None
        with self._lock:
            self.bytes_out += len(frame)

    def receive(self, timeout_s: float | None = None) -> WireMessage:
        """Return the next frame of this session.

        Raises:
            SessionLostError: the session has ended.
            TimeoutError: none came in time.
            WireError: it is no frame, or of another session.
        """
        try:
            frame = self.incoming.get(timeout_s)
        except ChannelClosedError:
            raise SessionLostError(self.why_lost or "the session has ended") from None
        message = decode(frame, from_=self._peer, largest=self.largest)
        if self.number and message.session != self.number:
            raise WireError(f"session {message.session}, expected {self.number}")
        return message

    def arrived(self, frame: bytes) -> None:
        """Take a frame from the network; waits while too many are unread."""
        with self._lock:
            self.bytes_in += len(frame)
        self.incoming.put(frame)

    def lose(self, why: str) -> None:
        """End the session: the network says that the other side is gone, or this side wants no more of it.

        What has come in whole by then can still be received.
        """
        with self._lock:
            is_new = not self._lost.is_set()
            if is_new:
                self.why_lost = why
                self._lost.set()
        self.incoming.close()
        self.outgoing.close(at_once=True)
        if is_new:
            self.when_lost()

    def finish(self, timeout_s: float = 5.0, why: str = "it was closed") -> None:
        """End the session in peace, once what was sent is on its way, or after so many seconds."""
        self.outgoing.close()
        self.outgoing.drained(timeout_s)
        self.lose(why)

    def last_words(self) -> Iterator[WireMessage]:
        """Yield what had come before the session ended and was not received yet; what is no frame is left out."""
        while True:
            try:
                yield self.receive(0.0)
            except WireError:
                continue
            except (SessionLostError, TimeoutError):
                return


def expect(message: WireMessage, kind: type[F]) -> F:
    """Return a frame that must be of a kind.

    Raises:
        WireError: it is of another.
    """
    if not isinstance(message, kind):
        raise WireError(f"frame '{message.kind}' where '{kind.kind}' was due")
    return message
