"""A bounded queue of frames between threads, which both ends can close."""

import threading
from collections import deque


class ChannelClosedError(Exception):
    """Nothing more comes out of a channel, or goes into it."""


class Channel:
    """Frames in order, at most ``capacity`` of them: who puts waits for who takes, which is how back-pressure works.

    Args:
        capacity: frames that may wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: bytes, timeout_s: float | None = None) -> None:
        """Append a frame, once there is room.

        Raises:
            ChannelClosedError: the channel is closed.
            TimeoutError: there was no room in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._frames) < self._capacity, timeout_s):
                raise TimeoutError
            if self._closed:
                raise ChannelClosedError
            self._frames.append(frame)
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> bytes:
        """Return the next frame; frames that were put before the channel was closed still come out.

        Raises:
            ChannelClosedError: it is closed and empty.
            TimeoutError: none came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or bool(self._frames), timeout_s):
                raise TimeoutError
            if not self._frames:
                raise ChannelClosedError
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        with self._changed:
            return len(self._frames)

    def close(self, *, at_once: bool = False) -> None:
        """Let nothing more in; ``at_once``: what waits is thrown away."""
        with self._changed:
            self._closed = True
            if at_once:
                self._frames.clear()
            self._changed.notify_all()

    def drained(self, timeout_s: float) -> bool:
        """Wait until all frames have been taken; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._frames, timeout_s)
