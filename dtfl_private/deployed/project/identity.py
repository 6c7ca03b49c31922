"""Who somebody is: the common name of a certificate that the project's authority has issued.

Whether it was issued by the authority, and is valid today, has been checked by TLS before a name is asked for here.
"""

import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

SERVER = "server"
"""The common name of the server's certificate."""

_CLIENT = re.compile(r"client-(0|[1-9][0-9]{0,8})", re.ASCII)


def client_name(client: int) -> str:
    """Return the common name of a client's certificate, by its number K = 0, 1, ..."""
    return f"client-{client}"


def client_number(name: str) -> int:
    """Return a client's number from its certificate's common name.

    Raises:
        ValueError: it is no client's name.
    """
    found = _CLIENT.fullmatch(name)
    if found is None:
        raise ValueError("the certificate's common name is not client-K")
    return int(found[1])


def peer_client(certificate_pem: bytes) -> int:
    """Return the number of the client at the other end of a TLS connection, whose certificate TLS has verified.

    Args:
        certificate_pem: the certificate (``x509_pem_cert`` in gRPC's authentication context).

    Raises:
        ValueError: it is no certificate, or no client's.
    """
    from cryptography import x509

    return client_number(common_name(x509.load_pem_x509_certificate(certificate_pem)))


def peer_expires(certificate_pem: bytes) -> datetime:
    """Return when a certificate expires.

    Raises:
        ValueError: it is no certificate.
    """
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc


def common_name(certificate: "x509.Certificate") -> str:
    """Return the one common name in a certificate's subject; "" where there is none, or are several."""
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""
