"""Credentials as they are read: what is wrong is said in one line, before any connection."""

import os
import re
import shutil
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from dtfl_private.deployed.project.authority import Authority, issue_client
from dtfl_private.deployed.project.credentials import read_client_credentials, read_server_credentials
from dtfl_private.deployed.project.identity import client_number, peer_client
from dtfl_private.deployed.project.layout import CredentialFolder
from dtfl_private.errors import InputError


@pytest.fixture
def client(project, tmp_path) -> CredentialFolder:
    """Return a copy of client 2's folder, to be spoiled."""
    shutil.copytree(project.client(2).path, tmp_path / "client-2")
    return CredentialFolder(path=tmp_path / "client-2", name="client")


def read(folder: CredentialFolder, now):
    return read_client_credentials(folder.authority, folder.certificate, folder.key, now=now)


def refusal(folder: CredentialFolder, now) -> str:
    with pytest.raises(InputError) as refused:
        read(folder, now)
    return str(refused.value)


def test_a_clients_files_say_who_it_is(client, now):
    found = read(client, now)
    assert (found.client, found.expires) == (2, (now + timedelta(days=365)).replace(microsecond=0))
    assert found.authority_pem == client.authority.read_bytes()
    assert found.certificate_pem == client.certificate.read_bytes()
    assert found.key_pem == client.key.read_bytes()


def test_the_servers_files_say_under_which_names_it_is_reached(project, now):
    server = project.server
    found = read_server_credentials(server.authority, server.certificate, server.key, now=now)
    assert found.names == ("fl.example.org", "localhost", "server", "192.0.2.7", "127.0.0.1", "::1")


def test_a_key_is_never_shown(client, now):
    assert "PRIVATE" not in repr(read(client, now))


@pytest.mark.parametrize("file", ["authority", "certificate", "key"])
def test_a_missing_file_is_named(client, now, file):
    path = getattr(client, file)
    path.unlink()
    assert re.fullmatch(rf"(certificate|private key)[a-z ]* '{path}' does not exist", refusal(client, now))


@pytest.mark.parametrize("file", ["authority", "certificate", "key"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not a certificate", "is no PEM file"),
        (b"", "is no PEM file"),
        (b"\x30\x82\x01\x00", "is no PEM file"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no "),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no "),
        (b"-----BEGIN " + b"x" * 100_000, "larger than 64 KiB"),
    ],
)
def test_what_is_no_certificate_or_key_is_refused(client, now, file, content, why):
    path = getattr(client, file)
    path.write_bytes(content)
    told = refusal(client, now)
    assert str(path) in told
    assert why in told


def test_a_pipe_is_refused_without_waiting_for_it(client, now):
    client.key.unlink()
    os.mkfifo(client.key)
    assert "not a regular file" in refusal(client, now)


def test_several_certificates_in_a_file_are_refused(client, now):
    client.certificate.write_bytes(client.certificate.read_bytes() * 2)
    assert "holds 2 certificates: expected one" in refusal(client, now)


def test_a_key_of_another_certificate_is_refused(client, project, now):
    client.key.write_bytes(project.client(1).key.read_bytes())
    assert refusal(client, now) == (
        f"private key '{client.key}' does not belong to certificate '{client.certificate}': give the pair of files"
    )


def test_a_key_with_a_password_is_refused(client, now):
    key = load_pem_private_key(client.key.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    client.key.write_bytes(locked)
    assert refusal(client, now) == f"private key '{client.key}' is encrypted: expected one without a password"


def test_a_certificate_of_another_authority_is_refused(client, other_project, now):
    client.authority.write_bytes(other_project.authority_certificate.read_bytes())
    assert "was not issued by the authority of" in refusal(client, now)


def test_an_expired_certificate_says_how_it_is_renewed(client, now):
    told = refusal(client, now + timedelta(days=366))
    day = (now + timedelta(days=365)).date()
    remedy = "renew it with `dtfl-private deploy renew FOLDER client-2`"
    assert told == f"certificate '{client.certificate}' has expired on {day}: {remedy}"


def test_the_last_second_of_a_certificate_is_valid(client, now):
    until = read(client, now).expires
    assert read(client, until).client == 2
    assert "has expired" in refusal(client, until + timedelta(seconds=1))


def test_a_clock_that_is_behind_is_named(client, now):
    assert read(client, now - timedelta(minutes=59)).client == 2
    assert "this machine's clock says" in refusal(client, now - timedelta(hours=2))


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o604, True), (0o602, True)])
def test_a_key_that_everybody_can_use_is_refused(client, now, mode, refused):
    client.key.chmod(mode)
    if not refused:
        assert read(client, now).client == 2
        return
    told = refusal(client, now)
    assert f"(mode {mode:04o}): chmod 600 it" in told


def test_a_client_is_not_taken_for_the_server_nor_the_server_for_a_client(client, project, now):
    server = project.server
    with pytest.raises(InputError, match=r"is that of 'client-2': it may not be used by a server"):
        read_server_credentials(client.authority, client.certificate, client.key, now=now)
    with pytest.raises(InputError, match=r"is that of 'server': it may not be used by a client"):
        read_client_credentials(server.authority, server.certificate, server.key, now=now)


def test_a_certificate_of_nobody_is_refused(client, project, now, monkeypatch):
    certificate = x509.load_pem_x509_certificate(project.authority_certificate.read_bytes())
    authority = Authority(certificate=certificate, key=load_pem_private_key(project.authority_key.read_bytes(), None))
    monkeypatch.setattr("dtfl_private.deployed.project.authority.client_name", lambda _: "admin")
    pair = issue_client(authority, 0, now, 10)
    client.certificate.write_bytes(pair.certificate_pem)
    client.key.write_bytes(pair.key_pem)
    assert refusal(client, now).endswith("is that of 'admin': expected 'client-K', a client's")
    with pytest.raises(ValueError, match="not client-K"):
        peer_client(pair.certificate_pem)


@pytest.mark.parametrize(
    "name",
    ["", "client-", "client-01", "client-+1", "client--1", "client-1 ", "client-1\n", "client-\u0661", "Client-1"],
)
def test_only_one_spelling_is_a_clients_name(name):
    with pytest.raises(ValueError, match="not client-K"):
        client_number(name)


def test_without_the_extra_one_line_says_which_to_install(client, now, monkeypatch):
    monkeypatch.setattr("dtfl_private.deployed.extra.find_spec", lambda name: None if name == "grpc" else name)
    assert refusal(client, now) == ('deploy needs what is not installed (grpc): pip install "dtfl-private[deploy]"')
