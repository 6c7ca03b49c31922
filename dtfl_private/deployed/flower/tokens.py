"""One-time tokens: what a client shows in place of a certificate, after it was handed over in a message of Flower."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dtfl_private.deployed.sessions.admission import TOKEN_KEY, Admitted

if TYPE_CHECKING:
    import grpc

TOKEN_BYTES = 32
LIFETIME_S = 300.0
"""Seconds between a token's making and its use: Flower takes some to deliver it, and a new process some to start."""


@dataclass(frozen=True, kw_only=True)
class _Outstanding:
    """A token that was not used yet: its digest, and until when it is good."""

    digest: bytes
    until_s: float


class Tokens:
    """The tokens of a run that are not used yet, at most one for each client; they are in memory alone.

    A session belongs to the client whose token opened it, for as long as its connection lasts and no longer.

    Args:
        lifetime_s: for which a token is good.
        clock: seconds since any moment.
    """

    asks_for_certificates: ClassVar[bool] = False

    def __init__(self, lifetime_s: float = LIFETIME_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime_s, self._clock = lifetime_s, clock
        self._outstanding: dict[int, _Outstanding] = {}
        self._lock = threading.Lock()

    def issue(self, client: int) -> str:
        """Return a new token for a client; an earlier one that it has not used is good no longer."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        issued = _Outstanding(digest=_digest(token), until_s=self._clock() + self._lifetime_s)
        with self._lock:
            self._outstanding[client] = issued
        return token

    def take(self, token: str) -> int:
        """Return the client that a token was issued for; it is good no longer.

        Raises:
            ValueError: it was never issued, has been used or replaced, or is too old.
        """
        shown, found = _digest(token), None
        with self._lock:
            # All of them are compared, each in constant time: how long it takes tells nothing of any.
            for client, one in self._outstanding.items():
                if hmac.compare_digest(one.digest, shown):
                    found = client
            if found is None:
                raise ValueError("its token is none of this run, or was used or replaced")
            taken = self._outstanding.pop(found)
        if self._clock() > taken.until_s:
            raise ValueError(f"the token of client {found} was not used within {self._lifetime_s:g} s")
        return found

    def admit(self, context: "grpc.ServicerContext") -> Admitted:
        """Return the client that has connected, by the one token in the metadata of its stream.

        Raises:
            ValueError: there is none, or it is not good.
        """
        shown = [value for key, value in context.invocation_metadata() or () if key == TOKEN_KEY]
        if len(shown) != 1 or not isinstance(shown[0], str):
            raise ValueError("the connection shows no token")
        return Admitted(client=self.take(shown[0]))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
