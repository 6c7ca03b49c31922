"""Certificates and keys as the server and the clients read them: checked one by one, and refused in one line.

What is refused here would fail at every connection, with less to go by. Whether the other side's certificate is good is
decided by TLS, at each connection.
"""

import os
import stat
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.project.identity import SERVER, client_number, common_name
from dtfl_private.errors import InputError
from dtfl_private.files import reading

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import ObjectIdentifier

# Of a certificate or a key; those of this project have about 1 KiB.
LARGEST_PEM_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """By which one side shows who it is and recognises the other; the key is not shown.

    Attributes:
        authority_pem: certificate of the authority that both sides trust.
        certificate_pem: own certificate.
        key_pem: its private key.
        expires: when the certificate does, with its zone.
    """

    authority_pem: bytes = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    expires: datetime


@dataclass(frozen=True, kw_only=True)
class ServerCredentials(Credentials):
    """Of the server; ``names`` are those under which it may be reached: host names, then addresses."""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClientCredentials(Credentials):
    """Of client number ``client``."""

    client: int


def read_server_credentials(ca: Path, certificate: Path, key: Path, *, now: datetime) -> ServerCredentials:
    """Return the server's credentials.

    Args:
        ca: file with the authority's certificate.
        certificate: file with the server's certificate.
        key: file with its private key.
        now: the time, with its zone.

    Raises:
        InputError: a file is missing or no PEM, others may read the key, the key is not the certificate's, the
            certificate is not the authority's, not valid now, or not the server's.
    """
    require_deploy_extra()
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    own, read = _read(ca, certificate, key, ExtendedKeyUsageOID.SERVER_AUTH, now)
    if common_name(own) != SERVER:
        raise _wrong_name(certificate, own, f"expected '{SERVER}', the server's")
    try:
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise InputError(f"certificate '{certificate}' names no host under which the server is reached") from None
    names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    return ServerCredentials(**read, names=tuple(names))


def read_client_credentials(ca: Path, certificate: Path, key: Path, *, now: datetime) -> ClientCredentials:
    """Return a client's credentials, with its number; arguments and errors are as for `read_server_credentials`."""
    require_deploy_extra()
    from cryptography.x509.oid import ExtendedKeyUsageOID

    own, read = _read(ca, certificate, key, ExtendedKeyUsageOID.CLIENT_AUTH, now)
    try:
        return ClientCredentials(**read, client=client_number(common_name(own)))
    except ValueError:
        raise _wrong_name(certificate, own, "expected 'client-K', a client's") from None


def _read(
    ca: Path, certificate: Path, key: Path, purpose: "ObjectIdentifier", now: datetime
) -> "tuple[x509.Certificate, dict[str, Any]]":
    """Return a certificate that fits its key, its authority, its purpose and the time, and the fields of `Credentials`.

    Which of several mistakes is named is decided by the order: what the user has mixed up comes before what time does.
    """
    authority_pem, certificate_pem = (
        _pem(path, what) for path, what in ((ca, _AUTHORITY), (certificate, "certificate"))
    )
    issuer, own = _certificate(authority_pem, ca, _AUTHORITY), _certificate(certificate_pem, certificate, "certificate")
    key_pem = read_key(key)
    _require_key_of(own, certificate, key_pem, key)
    require_issued_by(issuer, ca, own, certificate)
    _require_purpose(own, certificate, purpose)
    require_valid(issuer, ca, now, "make the project anew with `dtfl-private deploy init`")
    require_valid(own, certificate, now, f"renew it with `dtfl-private deploy renew FOLDER {common_name(own)}`")
    fields = {"authority_pem": authority_pem, "certificate_pem": certificate_pem, "key_pem": key_pem}
    return own, {**fields, "expires": min(own.not_valid_after_utc, issuer.not_valid_after_utc)}


_AUTHORITY = "certificate of the authority"


def read_certificate(path: Path, what: str = "certificate") -> "x509.Certificate":
    """Return the one certificate in a PEM file; ``what`` says in errors what it is.

    Raises:
        InputError: the file is missing, no PEM, or has several certificates.
    """
    return _certificate(_pem(path, what), path, what)


def require_valid(certificate: "x509.Certificate", path: Path, now: datetime, remedy: str) -> None:
    """Check that a certificate is valid at a time; ``remedy`` says what to do about one that has expired.

    Raises:
        InputError: it has expired, or is not yet valid.
    """
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > expires:
        raise InputError(f"certificate '{path}' has expired on {expires:%Y-%m-%d}: {remedy}")
    if now < begins:
        raise InputError(
            f"certificate '{path}' is not valid before {begins:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M %Z}: set the clock, or wait"
        )


def read_key(path: Path) -> bytes:
    """Return what a file with a private key holds.

    Raises:
        InputError: it cannot be read, or everybody can read it.
    """
    data = _pem(path, "private key")
    mode = path.stat().st_mode
    # A group may have access: so services get keys that belong to root, and systemd hands credentials over.
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise InputError(
            f"private key '{path}' can be read or replaced by everybody on this machine (mode "
            f"{stat.S_IMODE(mode):04o}): chmod 600 it"
        )
    return data


def _pem(path: Path, what: str) -> bytes:
    try:
        data = reading.read_bytes(path, most_bytes=LARGEST_PEM_BYTES)
    except FileNotFoundError:
        raise InputError(f"{what} '{path}' does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{what} '{path}' cannot be read: {reading.reason(error)}") from None
    if b"-----BEGIN " not in data:
        raise InputError(f"{what} '{path}' is no PEM file: expected text with a line that begins with -----BEGIN")
    return data


def _certificate(data: bytes, path: Path, what: str) -> "x509.Certificate":
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(data)
        for certificate in found:
            _ = certificate.extensions, certificate.subject  # parsed only when they are asked for
    except (ValueError, x509.DuplicateExtension):
        raise InputError(f"{what} '{path}' holds no certificate that can be read") from None
    if len(found) != 1:
        raise InputError(f"{what} '{path}' holds {len(found)} certificates: expected one")
    return found[0]


def _require_key_of(own: "x509.Certificate", certificate: Path, key_pem: bytes, key: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise InputError(f"private key '{key}' is encrypted: expected one without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(f"private key '{key}' holds no private key that can be read") from None
    if private.public_key() != own.public_key():
        raise InputError(f"private key '{key}' does not belong to certificate '{certificate}': give the pair of files")


def require_issued_by(issuer: "x509.Certificate", ca: Path, own: "x509.Certificate", certificate: Path) -> None:
    """Check that the authority whose certificate is in ``ca`` has issued another, which is in ``certificate``.

    Raises:
        InputError: it has not.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        own.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise InputError(
            f"certificate '{certificate}' was not issued by the authority of '{ca}': both must come from one project"
        ) from None


def _require_purpose(own: "x509.Certificate", certificate: Path, purpose: "ObjectIdentifier") -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        purposes = list(own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = []
    if purpose not in purposes:
        side = "a server" if purpose == ExtendedKeyUsageOID.SERVER_AUTH else "a client"
        raise _wrong_name(certificate, own, f"it may not be used by {side}")


def _wrong_name(certificate: Path, own: "x509.Certificate", but: str) -> InputError:
    return InputError(f"certificate '{certificate}' is that of '{common_name(own)}': {but}")
