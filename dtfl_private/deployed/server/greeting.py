"""How a session begins: who is there, with which version, for which run, with how many images."""

import itertools
import math
import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version

from dtfl_private.deployed.server.opening import Opening
from dtfl_private.deployed.server.registry import Registered, Registry
from dtfl_private.deployed.sessions.session import Session, SessionLostError, expect
from dtfl_private.deployed.wire.checks import check_hello, check_register, check_sums
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import Goodbye, Refused, Register, Sums, Welcome
from dtfl_private.errors import InputError, shortened
from dtfl_private.protocol.messages import ChannelSums

GREETING_S = 30.0
"""Seconds that a client has for its first frame."""

GOODBYE_S = 5.0
"""Seconds that a client has to take the news that the run has ended."""

LAST_WORDS_S = 1.0
"""Seconds that a refusal has to be on its way."""

REPLACED = "another process has connected with the same certificate: let only one of them run"

READING_S = 1800.0
"""Seconds that it then has to read its images."""

MOST_IMAGES = 2**31 - 1


class TurnedAwayError(Exception):
    """A client is not taken; the text says why."""


class OnlyLookedError(Exception):
    """A client has been told of the run, and has left before it took part."""


class RunHasEndedError(Exception):
    """A client has come after the end of the run; the text says why it has ended."""


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What every client is told first.

    run: id of the run.
    config_sha256: of what it must agree to.
    largest: bytes of the largest frame.
    """

    run: str
    config_sha256: str
    largest: int


class Greeter:
    """Greets clients, each in a thread of its own, and admits them to the registry.

    Args:
        registry: of the clients.
        opening: of the run.
        greeting: what clients are told.
        heard: called with a client, its address and why it was turned away; None if it was admitted.
        looked: called with a client that has read the configuration and left.
    """

    def __init__(
        self,
        registry: Registry,
        opening: Opening,
        greeting: Greeting,
        heard: Callable[[int, str, str | None], None],
        looked: Callable[[int], None],
    ) -> None:
        self._registry, self._opening, self._greeting = registry, opening, greeting
        self._heard, self._looked = heard, looked
        self._ended: str | None = None
        self._told = threading.Condition()
        self._told_clients: set[int] = set()
        self._greeting_now: dict[int, Session] = {}
        self._lock = threading.Lock()
        # So that no number of a session comes again, whatever process answers.
        self._numbers = itertools.count(secrets.randbelow(2**40) + 1)

    def __call__(self, client: int, session: Session, peer: str) -> None:
        """Greet a client, or say why not; of two processes with one certificate the newer one stays."""
        try:
            with self._alone(client, session):
                before = self._registry.admit(client, session, self._greeted(client, session))
        except (TurnedAwayError, WireError, InputError) as error:
            self._heard(client, peer, str(error))
            self._refuse(session, str(error))
        except OnlyLookedError:
            self._looked(client)
            session.lose("it has left")
        except RunHasEndedError as error:
            self.part(client, session, str(error))
        except (SessionLostError, TimeoutError):
            self._heard(client, peer, "it left before it was greeted")
            session.lose("it was not greeted in time")
        else:
            self._heard(client, peer, None)
            if before is not None:  # or the machine from which the client came before has not closed it
                self._refuse(before, REPLACED)

    def end(self, reason: str) -> None:
        """From now on, tell whoever comes that the run has ended."""
        self._ended = reason

    def part(self, client: int, session: Session, reason: str) -> None:
        """Tell a client that the run has ended, and end its session."""
        with suppress(SessionLostError, TimeoutError):  # it is gone: it may come back, and is told then
            session.send(Goodbye(session=session.number, reason=reason), GOODBYE_S)
            session.finish(GOODBYE_S)
            with self._told:
                self._told_clients.add(client)
                self._told.notify_all()

    def all_told(self, clients: Collection[int], timeout_s: float) -> bool:
        """Wait until all of these clients have been told that the run has ended; return whether they have."""
        with self._told:
            return self._told.wait_for(lambda: self._told_clients.issuperset(clients), timeout_s)

    @contextmanager
    def _alone(self, client: int, session: Session) -> Iterator[None]:
        """Greet one session of a client at a time: the newest, so that nobody holds more threads than its own."""
        with self._lock:
            before = self._greeting_now.get(client)
            self._greeting_now[client] = session
        if before is not None:
            before.lose(REPLACED)
        try:
            yield
        finally:
            with self._lock:
                if self._greeting_now.get(client) is session:
                    del self._greeting_now[client]

    def _greeted(self, client: int, session: Session) -> Registered:
        if client >= self._registry.clients:
            raise TurnedAwayError(
                f"client {client} is none of this run: its clients are 0..{self._registry.clients - 1}"
            )
        check_hello(session.receive(GREETING_S), version=version("dtfl-private"))
        session.number = next(self._numbers)
        if self._ended is not None:
            raise RunHasEndedError(self._ended)
        dataset, told = self._opening.dataset, self._greeting
        session.largest = told.largest  # until now, what a greeting takes
        session.send(
            Welcome(
                session=session.number,
                run=told.run,
                client=client,
                config=self._opening.agreed,
                config_sha256=told.config_sha256,
                largest=told.largest,
                classes=tuple(map(str, dataset.classes)),
                input_shape=dataset.input_shape,
            )
        )
        try:
            frame = expect(session.receive(READING_S), Register)
        except SessionLostError:
            raise OnlyLookedError from None
        check_register(frame, session=session.number, most_images=MOST_IMAGES)
        self._opening.require_images(frame.images)
        sums = self._sums(client, session, frame.images)
        return self._as_before(client, Registered(images=frame.images, sums=sums))

    def _sums(self, client: int, session: Session, images: int) -> ChannelSums | None:
        """Return what a client says of its pixels, where the run asks for it."""
        if not self._opening.needs_sums:
            return None
        frame = expect(session.receive(GREETING_S), Sums)
        channels, *size = self._opening.dataset.input_shape
        pixels = images * math.prod(size)
        check_sums(frame, session=session.number, client=client, channels=channels, pixels=pixels)
        return frame.message

    def _as_before(self, client: int, now: Registered) -> Registered:
        """Check that a client that comes again holds what it held before: averages and noise count on it."""
        before = self._registry.images(client)
        if before not in (0, now.images):
            raise TurnedAwayError(
                f"client {client} has {now.images} training images, and had {before} when it first came: "
                "restore them, or start a new run"
            )
        return now

    def _refuse(self, session: Session, reason: str) -> None:
        with suppress(SessionLostError, TimeoutError):  # it need not know
            session.send(Refused(session=session.number, reason=shortened(reason, 1000)), LAST_WORDS_S)
        session.finish(LAST_WORDS_S, reason)
