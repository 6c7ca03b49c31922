"""The project's own certificate authority: who holds a certificate of it is the server, or client K.

EC keys on P-256, signatures with SHA-256, extensions as RFC 5280 asks for them. Nobody else's authority is trusted, and
this one is trusted by nothing but this project.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from dtfl_private.deployed.project.identity import SERVER, client_name
from dtfl_private.printable import cut, printable

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

# How far the clock of a machine may be behind that of the operator.
CLOCK_TOLERANCE = timedelta(hours=1)

AUTHORITY_DAYS = 3650

# X.509 allows 64 characters in a common name.
LONGEST_PROJECT_NAME = 40


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate with its private key, both PEM; the key is not shown."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority that can issue certificates."""

    certificate: "x509.Certificate"
    key: "ec.EllipticCurvePrivateKey" = field(repr=False)

    @property
    def pair(self) -> Pair:
        """The authority's own certificate and key."""
        return _pair(self.certificate, self.key)


def new_authority(project: str, now: datetime) -> Authority:
    """Return a new authority.

    Args:
        project: a name that people recognise in its certificate.
        now: the time, with its zone.
    """
    from cryptography import x509

    key = _new_key()
    # Two projects of one name have different authorities: whoever mixes them up should be told so.
    subject = _name(f"{cut(printable(project), LONGEST_PROJECT_NAME // 2)} CA {secrets.token_hex(4)}")
    builder = _builder(subject, subject, key.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Authority(certificate=_signed(builder, key), key=key)


def issue_server(
    authority: Authority, names: Sequence[str | IPv4Address | IPv6Address], now: datetime, days: int
) -> Pair:
    """Return a certificate and key for the server.

    Args:
        authority: that issues it.
        names: under which clients reach the server: host names, addresses.
        now: the time, with its zone.
        days: for which it is valid, but not beyond the authority's own certificate.
    """
    key = _new_key()
    return _pair(_server_certificate(authority, key.public_key(), names, now, days), key)


def issue_client(authority: Authority, client: int, now: datetime, days: int) -> Pair:
    """Return a certificate and key for client number ``client``; the rest is as for `issue_server`."""
    key = _new_key()
    return _pair(_client_certificate(authority, key.public_key(), client, now, days), key)


def reissue(authority: Authority, old: "x509.Certificate", now: datetime, days: int) -> bytes:
    """Return a certificate like an old one of the same authority, for the same key, valid from now on."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = old.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # this authority issues no others
    builder = _builder(old.subject, authority.certificate.subject, key, now, _until(authority, now, days))
    for extension in old.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier):  # which the builder has added
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return _pem(_signed(builder, authority.key))


def _server_certificate(
    authority: Authority,
    key: "ec.EllipticCurvePublicKey",
    names: Sequence[str | IPv4Address | IPv6Address],
    now: datetime,
    days: int,
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    builder = _leaf(authority, SERVER, key, now, days)
    found = [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
    builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return _signed(builder, authority.key)


def _client_certificate(
    authority: Authority, key: "ec.EllipticCurvePublicKey", client: int, now: datetime, days: int
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    builder = _leaf(authority, client_name(client), key, now, days)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return _signed(builder, authority.key)


def _leaf(
    authority: Authority, name: str, key: "ec.EllipticCurvePublicKey", now: datetime, days: int
) -> "x509.CertificateBuilder":
    """Return what certificates of server and clients have in common."""
    from cryptography import x509

    builder = _builder(_name(name), authority.certificate.subject, key, now, _until(authority, now, days))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    return builder.add_extension(identifier, critical=False)


def _until(authority: Authority, now: datetime, days: int) -> datetime:
    return min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)


def _builder(
    subject: "x509.Name", issuer: "x509.Name", key: "ec.EllipticCurvePublicKey", now: datetime, until: datetime
) -> "x509.CertificateBuilder":
    from cryptography import x509

    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - CLOCK_TOLERANCE,
        not_valid_after=until,
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _new_key() -> "ec.EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _signed(builder: "x509.CertificateBuilder", key: "ec.EllipticCurvePrivateKey") -> "x509.Certificate":
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _pair(certificate: "x509.Certificate", key: "ec.EllipticCurvePrivateKey") -> Pair:
    from cryptography.hazmat.primitives import serialization as forms

    key_pem = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return Pair(certificate_pem=_pem(certificate), key_pem=key_pem)


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
