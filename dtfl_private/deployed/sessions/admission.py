"""Who a client is that has opened a session: its certificate says so, or a token that it was given before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Protocol

from dtfl_private.deployed.project.identity import peer_client, peer_expires

if TYPE_CHECKING:
    import grpc

TOKEN_KEY = "dtfl-token"
"""Name of the metadata of a session's stream that hold a token; they are sent inside TLS."""


class Secured(Protocol):
    """By which a server shows who it is, as PEM: what `ServerCredentials` has."""

    @property
    def authority_pem(self) -> bytes:
        """Certificate of the authority."""
        ...

    @property
    def certificate_pem(self) -> bytes:
        """The server's certificate."""
        ...

    @property
    def key_pem(self) -> bytes:
        """Its private key."""
        ...


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A client that has shown who it is: its number, and when it cannot show that any more (None: not known)."""

    client: int
    expires: datetime | None = None


class Admission(Protocol):
    """Says which client has connected."""

    asks_for_certificates: ClassVar[bool]
    """Whether TLS lets only clients in that have a certificate of the server's authority."""

    def admit(self, context: "grpc.ServicerContext") -> Admitted:
        """Return who it is.

        Raises:
            ValueError: it belongs to no client; the text says why, and never quotes what it showed.
        """
        ...


class ByCertificate:
    """The common name of a certificate that TLS has verified."""

    asks_for_certificates: ClassVar[bool] = True

    def admit(self, context: "grpc.ServicerContext") -> Admitted:
        """Return the number in the certificate of the other side, and when that expires."""
        found: Sequence[bytes] = context.auth_context().get("x509_pem_cert", ())
        if len(found) != 1:
            raise ValueError("the connection has no certificate")
        return Admitted(client=peer_client(found[0]), expires=peer_expires(found[0]))


BY_CERTIFICATE = ByCertificate()


@dataclass(frozen=True, kw_only=True)
class TokenCredentials:
    """By which a client shows who it is without a certificate, and recognises the server; the token is not shown.

    Attributes:
        authority_pem: certificate of the only authority that it trusts.
        token: that the server has given this client, by a way on which both know each other.
    """

    authority_pem: bytes = field(repr=False)
    token: str = field(repr=False)
