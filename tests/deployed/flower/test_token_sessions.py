"""Sessions that are opened by a token, over TLS within one process: who gets in, and only once."""

import contextlib
import queue
from datetime import UTC, datetime

import pytest

from dtfl_private.deployed.flower.invitations import own_certificate
from dtfl_private.deployed.flower.tokens import Tokens
from dtfl_private.deployed.project.credentials import read_client_credentials
from dtfl_private.deployed.sessions.admission import TokenCredentials
from dtfl_private.deployed.sessions.session import SessionLostError
from dtfl_private.deployed.sessions.transport import Listening, connect
from dtfl_private.deployed.wire.kinds import Hello
from dtfl_private.errors import InputError

PATIENCE_S = 300.0
LARGEST = 2**21
HELLO = Hello(version="1")


@pytest.fixture(scope="module")
def certificate():
    return own_certificate("127.0.0.1", datetime.now(UTC))


@pytest.fixture
def server(certificate):
    """Return where a server listens, its tokens, and the queue of what comes: (client, session), or (None, why)."""
    sessions, tokens = queue.Queue(), Tokens()
    listening = Listening(
        "127.0.0.1:0",
        certificate,
        clients=3,
        largest=LARGEST,
        greet=lambda client, session, _: sessions.put((client, session)),
        turned_away=lambda why: sessions.put((None, why)),
        admission=tokens,
    )
    yield listening.address, tokens, sessions
    listening.close()


@contextlib.contextmanager
def connected(address, credentials):
    session, close = connect(address, credentials, LARGEST)
    try:
        yield session
    finally:
        close()


def shows(certificate, token: str) -> TokenCredentials:
    return TokenCredentials(authority_pem=certificate.authority_pem, token=token)


def test_a_token_opens_the_session_of_its_client_and_no_second_one(server, certificate):
    address, tokens, sessions = server
    token = tokens.issue(2)
    with connected(address, shows(certificate, token)) as session:
        session.send(HELLO)
        client, other_side = sessions.get(timeout=PATIENCE_S)
        assert client == 2
        assert other_side.receive(PATIENCE_S) == HELLO
        with connected(address, shows(certificate, token)) as again:
            nobody, why = sessions.get(timeout=PATIENCE_S)
            assert nobody is None
            assert why.endswith("its token is none of this run, or was used or replaced")
            assert token not in why
            with pytest.raises(SessionLostError):
                again.receive(PATIENCE_S)
        session.send(HELLO)  # and the first one is not disturbed
        assert other_side.receive(PATIENCE_S) == HELLO


@pytest.mark.parametrize("token", ["A" * 43, "x"])
def test_a_guessed_token_is_turned_away(server, certificate, token):
    address, tokens, sessions = server
    tokens.issue(0)
    with connected(address, shows(certificate, token)) as session, pytest.raises(SessionLostError):
        session.receive(PATIENCE_S)
    assert sessions.get(timeout=PATIENCE_S)[0] is None


def test_a_certificate_of_mutual_tls_is_no_token(server, project, now):
    address, tokens, sessions = server
    tokens.issue(0)
    side = project.client(0)
    own = read_client_credentials(side.authority, side.certificate, side.key, now=now)
    with connected(address, own) as session, pytest.raises(SessionLostError):  # nor does it trust this server
        session.receive(PATIENCE_S)
    assert sessions.empty()


def test_a_client_sends_its_token_to_no_other_server_than_the_one_it_was_told_of(server):
    address, tokens, sessions = server
    token, elsewhere = tokens.issue(1), own_certificate("127.0.0.1", datetime.now(UTC))
    with connected(address, shows(elsewhere, token)) as session, pytest.raises(SessionLostError):
        session.receive(PATIENCE_S)
    assert sessions.empty()
    assert tokens.take(token) == 1  # it was never shown


def test_each_run_has_an_authority_of_its_own_whose_key_is_in_no_file(certificate):
    other = own_certificate("127.0.0.1", datetime.now(UTC))
    assert other.authority_pem != certificate.authority_pem
    assert b"PRIVATE" not in certificate.authority_pem + certificate.certificate_pem
    assert "PRIVATE" not in repr(certificate)
    with pytest.raises(InputError, match="is refused"):
        own_certificate("no host/", datetime.now(UTC))
