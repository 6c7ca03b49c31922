"""What TLS itself says of a project's certificates: handshakes between Python's own TLS, in memory."""

import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dtfl_private.deployed.project.authority import Authority, Pair, issue_client, issue_server
from dtfl_private.deployed.project.identity import peer_client
from dtfl_private.deployed.project.layout import CredentialFolder


def context(side: int, folder: CredentialFolder) -> ssl.SSLContext:
    """Return a side's TLS, which trusts the project's authority alone, as strictly as Python can."""
    made = ssl.SSLContext(side)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(folder.authority)
    made.load_cert_chain(folder.certificate, folder.key)
    return made


def handshake(server: CredentialFolder, client: CredentialFolder, host: str = "fl.example.org") -> bytes:
    """Return the certificate that the server sees at the end of a handshake, as PEM."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = context(ssl.PROTOCOL_TLS_SERVER, server).wrap_bio(to_server, to_client, server_side=True)
    joining = context(ssl.PROTOCOL_TLS_CLIENT, client).wrap_bio(to_client, to_server, server_hostname=host)
    waiting = [joining, serving]
    for _ in range(10):  # a handshake takes three turns
        for side in [*waiting]:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert waiting == []
    return ssl.DER_cert_to_PEM_cert(serving.getpeercert(binary_form=True)).encode()


@pytest.fixture
def authority(project) -> Authority:
    certificate = x509.load_pem_x509_certificate(project.authority_certificate.read_bytes())
    return Authority(certificate=certificate, key=load_pem_private_key(project.authority_key.read_bytes(), None))


@pytest.fixture
def written(tmp_path, project):
    """Write a pair of the project's authority to a folder of its own: ``written(pair, "client")``."""

    def write(pair: Pair, name: str) -> CredentialFolder:
        folder = CredentialFolder(path=tmp_path, name=name)
        folder.authority.write_bytes(project.authority_certificate.read_bytes())
        folder.certificate.write_bytes(pair.certificate_pem)
        folder.key.write_bytes(pair.key_pem)
        return folder

    return write


@pytest.mark.parametrize("host", ["fl.example.org", "192.0.2.7", "localhost", "127.0.0.1", "::1", "server"])
def test_server_and_clients_recognise_each_other(project, host):
    for client in range(3):
        assert peer_client(handshake(project.server, project.client(client), host)) == client


def test_a_server_under_another_name_is_refused(project):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(project.server, project.client(0), "fl.example.com")


def test_a_client_of_another_authority_is_refused(project, other_project, written):
    theirs = other_project.client(0)
    pair = Pair(certificate_pem=theirs.certificate.read_bytes(), key_pem=theirs.key.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(project.server, written(pair, "client"))


def test_a_server_of_another_authority_is_refused(project, other_project):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed certificate in certificate chain"):
        handshake(other_project.server, project.client(0))


@pytest.mark.parametrize(("then", "why"), [(-100, "certificate has expired"), (100, "certificate is not yet valid")])
def test_a_client_out_of_its_time_is_refused(project, authority, written, now, then, why):
    client = written(issue_client(authority, 0, now + timedelta(days=then), 10), "client")
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        handshake(project.server, client)


def test_an_expired_server_is_refused(project, authority, written, now):
    server = written(issue_server(authority, ["fl.example.org"], now - timedelta(days=100), 10), "server")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(server, project.client(0))


def test_a_client_cannot_stand_for_the_server_nor_the_server_for_a_client(project):
    client, server = project.client(0), project.server
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client, project.client(1))
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(server, server)


def test_a_clients_key_cannot_issue_certificates(project, written, now):
    """The chain over client 0 is offered whole, and its end refused."""
    client = project.client(0)
    certificate = x509.load_pem_x509_certificate(client.certificate.read_bytes())
    false = Authority(certificate=certificate, key=load_pem_private_key(client.key.read_bytes(), None))
    pair = issue_client(false, 1, now, 10)
    chain = Pair(certificate_pem=pair.certificate_pem + client.certificate.read_bytes(), key_pem=pair.key_pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        handshake(project.server, written(chain, "client"))
