"""Sessions over gRPC and mutual TLS within one process: who gets in, what arrives, and that nothing is left behind."""

import contextlib
import queue
import select
import socket
import ssl
import threading
from datetime import timedelta
from types import SimpleNamespace

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dtfl_private.deployed.project.authority import Authority, issue_client
from dtfl_private.deployed.project.credentials import (
    ClientCredentials,
    read_client_credentials,
    read_server_credentials,
)
from dtfl_private.deployed.sessions import transport
from dtfl_private.deployed.sessions.pieces import LAST, PIECE_BYTES
from dtfl_private.deployed.sessions.session import Session, SessionLostError
from dtfl_private.deployed.sessions.transport import (
    METHOD,
    SERVICE,
    SESSIONS_OF_ONE,
    SPARE_CONNECTIONS,
    Listening,
    connect,
    options,
    take_in,
)
from dtfl_private.deployed.wire.frames import FIRST_LARGEST
from dtfl_private.deployed.wire.kinds import Echo, Hello, Measure
from dtfl_private.errors import InputError

PATIENCE_S = 300.0
LARGEST = 3 * PIECE_BYTES


@pytest.fixture
def server(project, now):
    """Return a server on this machine, and the queue of its sessions: (client, session)."""
    side = project.server
    sessions: queue.Queue = queue.Queue()
    before = set(threading.enumerate())
    listening = Listening(
        "127.0.0.1:0",
        read_server_credentials(side.authority, side.certificate, side.key, now=now),
        clients=3,
        largest=LARGEST,
        greet=lambda client, session, _: sessions.put((client, session)),
        turned_away=lambda why: sessions.put((None, why)),
    )
    yield listening, sessions
    listening.close()
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert not [thread.name for thread in left if thread.name.startswith(("from ", "greet ", "session"))]


def credentials(project, now, client: int) -> ClientCredentials:
    side = project.client(client)
    return read_client_credentials(side.authority, side.certificate, side.key, now=now)


@contextlib.contextmanager
def connected(address: str, own: ClientCredentials):
    session, close = connect(address, own, LARGEST)
    try:
        yield session
    finally:
        close()


def test_frames_of_any_size_cross_both_ways_and_the_certificate_says_who_it_is(server, project, now):
    listening, sessions = server
    payload = bytes(range(256)) * (PIECE_BYTES // 100)
    with connected(listening.address, credentials(project, now, 2)) as ours:
        ours.send(Hello(version="1"))
        client, theirs = sessions.get(timeout=PATIENCE_S)
        theirs.largest = LARGEST
        assert client == 2
        assert theirs.peer_expires == credentials(project, now, 2).expires
        assert theirs.receive(PATIENCE_S) == Hello(version="1")
        theirs.send(Measure(session=0, number=1, payload=payload))
        assert ours.receive(PATIENCE_S).payload == payload
        ours.send(Echo(session=0, number=1, payload=payload))
        assert theirs.receive(PATIENCE_S).payload == payload
        assert (ours.bytes_in, ours.bytes_out) == (theirs.bytes_out, theirs.bytes_in)
    with pytest.raises(SessionLostError):  # the client is gone, and the server's side is told
        theirs.receive(PATIENCE_S)


def test_a_frame_that_is_too_large_ends_the_session(server, project, now):
    listening, sessions = server
    with connected(listening.address, credentials(project, now, 0)) as ours:
        _, theirs = sessions.get(timeout=PATIENCE_S)
        ours.send(Echo(session=0, number=1, payload=bytes(FIRST_LARGEST)))  # before it is greeted
        with pytest.raises(SessionLostError, match=f"a frame of more than {FIRST_LARGEST:,} bytes"):
            theirs.receive(PATIENCE_S)
        with pytest.raises(SessionLostError):
            ours.receive(PATIENCE_S)


def test_why_a_stream_has_ended_is_one_line_whatever_the_other_side_has_put_there():
    class EndedError(Exception):
        def details(self) -> str:
            return "gone\n\x1b[2J" + "x" * 100_000

    def pieces():
        yield LAST + b"frame"
        raise EndedError

    session = Session("server", LARGEST)
    take_in(session, pieces())
    assert session.why_lost.startswith("gone \\x1b[2Jx")
    assert session.why_lost.isprintable()
    assert len(session.why_lost) < 2000


def test_a_server_that_ends_a_session_ends_it_for_the_client(server, project, now):
    listening, sessions = server
    with connected(listening.address, credentials(project, now, 1)) as ours:
        _, theirs = sessions.get(timeout=PATIENCE_S)
        theirs.send(Measure(session=0, number=1))
        theirs.finish(PATIENCE_S)
        assert ours.receive(PATIENCE_S) == Measure(session=0, number=1)
        with pytest.raises(SessionLostError):
            ours.receive(PATIENCE_S)


def reissued(project, other, now, then: int) -> ClientCredentials:
    """Return credentials of client 0 that another project, or at another time, was issued; it trusts this project."""
    certificate = x509.load_pem_x509_certificate(other.authority_certificate.read_bytes())
    authority = Authority(certificate=certificate, key=load_pem_private_key(other.authority_key.read_bytes(), None))
    pair = issue_client(authority, 0, now + timedelta(days=then), 10)
    return ClientCredentials(
        authority_pem=project.authority_certificate.read_bytes(),
        certificate_pem=pair.certificate_pem,
        key_pem=pair.key_pem,
        expires=now,
        client=0,
    )


@pytest.mark.parametrize(("whose", "then"), [("project", -100), ("project", 100), ("other", 0)])
def test_certificates_that_have_expired_or_are_of_another_project_get_no_session(
    server, project, other_project, now, whose, then
):
    listening, sessions = server
    own = reissued(project, project if whose == "project" else other_project, now, then)
    with connected(listening.address, own) as ours, pytest.raises(SessionLostError):
        ours.receive(PATIENCE_S)
    with connected(listening.address, credentials(project, now, 1)):
        assert sessions.get(timeout=PATIENCE_S)[0] == 1  # and nothing before it
    assert sessions.empty()


def test_a_server_of_another_project_is_not_believed(server, other_project, now):
    listening, _ = server
    with (
        connected(listening.address, credentials(other_project, now, 0)) as ours,
        pytest.raises(SessionLostError, match=r"not of the authority in --ca: .*CERTIFICATE_VERIFY_FAILED"),
    ):
        ours.receive(PATIENCE_S)


def test_a_server_that_is_called_by_another_name_is_not_believed(project, now):
    """The project's server has the names of this machine, but not this one, at which it listens all the same."""
    side = project.server
    own = read_server_credentials(side.authority, side.certificate, side.key, now=now)
    listening = Listening("127.0.0.2:0", own, clients=1, largest=LARGEST, greet=print, turned_away=print)
    try:
        with (
            connected(listening.address, credentials(project, now, 0)) as ours,
            pytest.raises(
                SessionLostError, match=r"does not have the name that this client calls it by.*--server-name"
            ),
        ):
            ours.receive(PATIENCE_S)
    finally:
        listening.close()


def test_nobody_is_there(project, now):
    with connected("127.0.0.1:1", credentials(project, now, 0)) as ours, pytest.raises(SessionLostError):
        ours.receive(PATIENCE_S)


@pytest.mark.parametrize(
    "address", ["localhost", ":80", "host:http", "", "host:0", "host:65536", "host:99999", "host:-1", "host:٣"]
)
def test_what_is_no_address(project, now, address):
    with pytest.raises(InputError, match="is no address: expected HOST:PORT"):
        connect(address, credentials(project, now, 0), LARGEST)


def test_strangers_who_connect_and_say_nothing_take_no_more_than_some_connections(server):
    """Whoever reaches the port could otherwise have a server open no file any more, and end its run."""
    listening, _ = server
    host, _, port = listening.address.rpartition(":")
    most = 2 * 3 + SPARE_CONNECTIONS
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, int(port)), PATIENCE_S)) for _ in range(most + 20)]
        ended: list[socket.socket] = []
        while len(ended) < 20:
            ended, _, _ = select.select(held, [], [], PATIENCE_S)
        assert held[-1] in ended
        assert held[0] not in ended  # it has time for its handshake


def test_a_client_has_few_sessions_at_once_and_leaves_the_others_theirs(server, project, now):
    listening, sessions = server
    own = credentials(project, now, 0)
    with contextlib.ExitStack() as stack:
        for _ in range(SESSIONS_OF_ONE):
            stack.enter_context(connected(listening.address, own))
            assert sessions.get(timeout=PATIENCE_S)[0] == 0
        with connected(listening.address, own) as third, pytest.raises(SessionLostError):
            third.receive(PATIENCE_S)
        none, why = sessions.get(timeout=PATIENCE_S)
        assert (none, why.endswith("client 0 has 2 sessions already")) == (None, True)
        with connected(listening.address, credentials(project, now, 1)):
            assert sessions.get(timeout=PATIENCE_S)[0] == 1
    came: list[int | None] = []
    while 0 not in came and len(came) < 1000:  # until the server has heard that they are gone
        with connected(listening.address, own):
            came.append(sessions.get(timeout=PATIENCE_S)[0])
    assert came[-1] == 0


def test_the_stream_of_a_session_that_the_server_has_lost_ends_though_the_client_takes_nothing(
    server, project, now, monkeypatch
):
    listening, sessions = server
    contexts: queue.Queue = queue.Queue()
    end = listening._end
    monkeypatch.setattr(listening, "_end", contexts.put)
    monkeypatch.setattr(transport, "ENDING_S", 0.0)
    with connected(listening.address, credentials(project, now, 0)):
        sessions.get(timeout=PATIENCE_S)[1].lose("it takes nothing")
        assert contexts.get(timeout=PATIENCE_S) is not None
        cancelled = threading.Event()
        end(SimpleNamespace(add_callback=lambda _: True, cancel=cancelled.set))
        assert cancelled.wait(PATIENCE_S)


def test_a_connection_without_a_session_is_closed(project, now, monkeypatch):
    monkeypatch.setattr(transport, "HANDSHAKE_S", 0.2)
    side, own = project.server, project.client(0)
    listening = Listening(
        "127.0.0.1:0",
        read_server_credentials(side.authority, side.certificate, side.key, now=now),
        clients=1,
        largest=LARGEST,
        greet=print,
        turned_away=print,
    )
    trusting = ssl.create_default_context(cafile=own.authority)
    trusting.check_hostname = False
    trusting.load_cert_chain(own.certificate, own.key)
    trusting.set_alpn_protocols(["h2"])
    host, _, port = listening.address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as plain, trusting.wrap_socket(plain) as held:
        held.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        said = b"".join(iter(lambda: held.recv(1000), b""))  # until it is closed
    assert b"connection idle" in said
    listening.close()


def test_compressed_messages_are_refused_before_they_are_unpacked(server, project, now):
    listening, _ = server
    own = credentials(project, now, 0)
    secured = grpc.ssl_channel_credentials(own.authority_pem, own.key_pem, own.certificate_pem)
    with grpc.secure_channel(listening.address, secured, compression=grpc.Compression.Gzip) as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}")(iter([bytes(10_000)]), timeout=PATIENCE_S)
        with pytest.raises(grpc.RpcError) as refused:
            list(call)
    assert "disabled" in refused.value.details()


@pytest.mark.parametrize("address", ["localhost", ":80", "127.0.0.1:65536", "127.0.0.1:99999"])
def test_nobody_listens_at_what_is_no_address(project, now, address):
    side = project.server
    own = read_server_credentials(side.authority, side.certificate, side.key, now=now)
    with pytest.raises(InputError, match=r"^--listen '.*' is no address: expected HOST:PORT .* 0 to 65535"):
        Listening(address, own, clients=1, largest=LARGEST, greet=print, turned_away=print)


def test_a_dead_line_is_noticed_in_the_same_time_by_whichever_ping_is_under_way():
    said = dict(options(10.0))
    assert said["grpc.http2.ping_timeout_ms"] == said["grpc.keepalive_timeout_ms"] == 5000
