"""How clients come to a server: over TLS, each with a certificate, or by what another system hands over."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dtfl_private.deployed.project.credentials import ServerCredentials
from dtfl_private.deployed.sessions.transport import KEEPALIVE_S, Greet, Listening


class Opened(Protocol):
    """An entrance that clients can come by."""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        ...

    def close(self) -> None:
        """Let nobody in any more, and end what is left of all sessions."""
        ...


class Entrance(Protocol):
    """How clients come to a server."""

    @property
    def expires(self) -> datetime | None:
        """When nobody can come in any more; None for never."""
        ...

    @property
    def turn_s(self) -> float:
        """Seconds that a frame and its answer may be on their way, beside what the answer takes."""
        ...

    def let_in(self, *, clients: int, largest: int, greet: Greet, turned_away: Callable[[str], None]) -> Opened:
        """Let clients in.

        Args:
            clients: how many there are.
            largest: bytes of the largest frame that is taken.
            greet: called with each session.
            turned_away: called with why somebody was refused that is no client.

        Raises:
            InputError: the entrance cannot be opened.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class OverTls:
    """Clients connect to an address, and show their certificates.

    Attributes:
        listen: HOST:PORT; port 0 takes any that is free.
        credentials: of the server.
        keepalive_s: after so many seconds of silence a connection is asked whether it is there.
    """

    listen: str
    credentials: ServerCredentials
    keepalive_s: float = KEEPALIVE_S

    @property
    def expires(self) -> datetime:
        """When the server's certificate does."""
        return self.credentials.expires

    @property
    def turn_s(self) -> float:
        """Nothing to speak of."""
        return 0.0

    def let_in(self, *, clients: int, largest: int, greet: Greet, turned_away: Callable[[str], None]) -> Listening:
        """Listen."""
        return Listening(
            self.listen,
            self.credentials,
            clients=clients,
            largest=largest,
            greet=greet,
            turned_away=turned_away,
            keepalive_s=self.keepalive_s,
        )
