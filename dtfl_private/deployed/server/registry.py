"""Which clients are connected, what they hold, and what their links are like."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dtfl_private.deployed.sessions.session import Session
from dtfl_private.protocol.contracts import BoolArray, IntArray
from dtfl_private.protocol.messages import ChannelSums


@dataclass(frozen=True, kw_only=True)
class Link:
    """A client's link, as the server has measured it: bytes and seconds."""

    up_bytes_s: float
    down_bytes_s: float
    latency_s: float


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What a client has said of its data when it first came; later it must say the same.

    images: N_k.
    sums: of its pixels; None where the run needs none.
    """

    images: int
    sums: ChannelSums | None = None


class Registry:
    """The clients of a run, shared by the threads of a server.

    Args:
        clients: how many there are.
        images_before: training images of each, as an earlier server of the run has heard; 0: of none.
    """

    def __init__(self, clients: int, images_before: IntArray | None = None) -> None:
        self.clients = clients
        self._images_before = np.zeros(clients, dtype=np.int64) if images_before is None else images_before
        self._sessions: dict[int, Session] = {}
        self._registered: dict[int, Registered] = {}
        self._links: dict[int, Link] = {}
        self._changed = threading.Condition()

    def admit(self, client: int, session: Session, registered: Registered) -> Session | None:
        """Let a client take part in the next round; return the session that this one replaces, if it still lasts."""
        with self._changed:
            before = self._sessions.get(client)
            self._sessions[client] = session
            self._registered[client] = registered
            self._links.pop(client, None)  # it may come over another link
            self._changed.notify_all()
        return None if before is None or before is session or before.is_lost else before

    def registered(self, client: int) -> Registered | None:
        """Return what a client has said of its data; None if it never came."""
        with self._changed:
            return self._registered.get(client)

    def images(self, client: int) -> int:
        """Return how many training images a client has, as it told this server or one before it; 0 if it never did."""
        known = self.registered(client)
        return int(self._images_before[client]) if known is None else known.images

    def all_registered(self) -> Mapping[int, Registered]:
        """Return what clients have said of their data."""
        with self._changed:
            return dict(self._registered)

    def session(self, client: int) -> Session | None:
        """Return a client's session; None if it is not connected."""
        with self._changed:
            session = self._sessions.get(client)
        return None if session is None or session.is_lost else session

    def connected(self) -> list[int]:
        """Return the clients that are connected."""
        with self._changed:
            return sorted(client for client, session in self._sessions.items() if not session.is_lost)

    def measured(self, client: int, session: Session, link: Link) -> None:
        """Keep what the link of a client's session is like, unless another session has replaced it."""
        with self._changed:
            if self._sessions.get(client) is session:
                self._links[client] = link

    def ready(self, client: int) -> Session | None:
        """Return a client's session if it is measured, and so can play rounds; None if there is none."""
        session = self.session(client)
        return session if session is not None and self.link(client) is not None else None

    def link(self, client: int) -> Link | None:
        """Return what a client's link is like; None before it was measured in its session."""
        with self._changed:
            return self._links.get(client)

    def wait(self, minimum: int, timeout_s: float) -> bool:
        """Wait until so many clients are connected; return whether they are."""
        end = time.monotonic() + timeout_s
        while len(self.connected()) < minimum:
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._changed:  # a session that is lost tells nobody: look again now and then
                self._changed.wait(min(left, 0.5))
        return True

    @property
    def images_K(self) -> IntArray:
        """Training images of each client; 0 of clients that never came."""
        return np.array([self.images(client) for client in range(self.clients)])

    @property
    def present_K(self) -> BoolArray:
        """Whether each client can play the next round."""
        return np.array([self.ready(client) is not None for client in range(self.clients)])

    def lose_all(self, why: str) -> None:
        """End all sessions."""
        with self._changed:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.lose(why)
