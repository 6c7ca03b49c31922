"""Sessions over gRPC: one bidirectional stream per client, with mutual TLS.

The frames are plain bytes, so that gRPC needs no generated code. Keepalive notices a machine that vanishes without
closing its connection.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from dtfl_private.deployed.project.credentials import ClientCredentials
from dtfl_private.deployed.project.identity import SERVER
from dtfl_private.deployed.sessions.admission import BY_CERTIFICATE, TOKEN_KEY, Admission, Secured, TokenCredentials
from dtfl_private.deployed.sessions.channel import ChannelClosedError
from dtfl_private.deployed.sessions.pieces import PIECE_BYTES, frames_of, pieces_of
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import FIRST_LARGEST
from dtfl_private.errors import InputError
from dtfl_private.printable import one_line

if TYPE_CHECKING:
    import grpc

SERVICE, METHOD = "dtfl.v1.Session", "Run"

KEEPALIVE_S = 10.0
"""A connection that has said nothing for so long is asked whether it is there; after half as long it is given up."""
# Sessions beside one for each client: new ones of clients whose old ones are not yet known to be gone, and strangers.
SPARE_SESSIONS = 8

SPARE_CONNECTIONS = 64
"""Connections beside two for each client; strangers, who have no certificate, may hold as many."""

HANDSHAKE_S = 20.0
"""A connection that has not shown a certificate after so long is closed, as is one without a session."""

SESSIONS_OF_ONE = 2
"""That a client may have at once: one that is not yet known to be gone, and the new one. Nobody has the threads of
others: who takes nothing that is sent holds up the thread that sends it."""

# How long a thread has to end after what it waits for has.
ENDING_S = 5.0

# What gRPC says where the client's TLS does not take the server's certificate, and what that means.
NOT_BELIEVED = {
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not valid now, or not of the authority in --ca: both "
    "sides' must come from one project",
    "Hostname Verification Check failed": "the server's certificate does not have the name that this client calls it "
    "by: the project was written without that --server-name",
}


def options(keepalive_s: float) -> list[tuple[str, Any]]:
    """Return gRPC's settings; both sides of a connection need the same keepalive."""
    keepalive_ms = round(1000 * keepalive_s)
    return [
        ("grpc.max_receive_message_length", PIECE_BYTES + 2**16),
        ("grpc.max_send_message_length", PIECE_BYTES + 2**16),
        # None but the identity: a message that unpacks to a thousand times its size is unpacked before it is measured.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms // 2),
        # While gRPC has a ping under way by which it estimates the line, it sends none of keepalive: then the former
        # tells whether the line is dead, which by default it does after a minute.
        ("grpc.http2.ping_timeout_ms", keepalive_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive_ms // 2),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def quiet_grpc() -> Any:
    """Return gRPC, which is told to leave it to this package what is said of an error, unless its user has decided."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    return grpc


def require_address(address: str, what: str, lowest_port: int = 0) -> None:
    """Raise `InputError` unless an address is HOST:PORT: of a greater port gRPC takes the remainder."""
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and lowest_port <= int(port) <= 65535
    if not host or not is_port:
        raise InputError(f"{what} is no address: expected HOST:PORT of the {SERVER}, PORT {lowest_port} to 65535")


Greet = Callable[[int, Session, str], None]
"""Called in a thread of its own with each new session: the client's number, the session, where it comes from."""


class Listening:
    """A server that accepts sessions of clients.

    Args:
        address: HOST:PORT; port 0 takes any that is free.
        credentials: of the server.
        clients: how many clients there are.
        largest: bytes of the largest frame that is taken.
        greet: called with each session.
        turned_away: called with why a connection was refused that belongs to no client.
        admission: says which client has connected; by default its certificate of the project's authority does.
        keepalive_s: see `KEEPALIVE_S`.

    Attributes:
        address: where it listens.

    Raises:
        InputError: the address cannot be listened at.
    """

    def __init__(
        self,
        address: str,
        credentials: Secured,
        *,
        clients: int,
        largest: int,
        greet: Greet,
        turned_away: Callable[[str], None],
        admission: Admission = BY_CERTIFICATE,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        grpc = quiet_grpc()
        require_address(address, f"--listen '{address}'")
        self._largest, self._greet, self._turned_away = largest, greet, turned_away
        self._admission = admission
        self._threads = ThreadPoolExecutor(2 * clients + SPARE_SESSIONS, thread_name_prefix="session")
        self._beside: set[threading.Thread] = set()
        self._open: Counter[int] = Counter()
        self._counting = threading.Lock()
        # Whoever reaches the port can connect, and say nothing: not until no file can be opened any more.
        bounds = [
            ("grpc.max_allowed_incoming_connections", 2 * clients + SPARE_CONNECTIONS),
            ("grpc.server_handshake_timeout_ms", round(1000 * HANDSHAKE_S)),
            ("grpc.max_connection_idle_ms", round(1000 * HANDSHAKE_S)),
        ]
        self._server = grpc.server(self._threads, options=[*options(keepalive_s), ("grpc.so_reuseport", 0), *bounds])
        handler = grpc.stream_stream_rpc_method_handler(self._session)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        secured = grpc.ssl_server_credentials(
            [(credentials.key_pem, credentials.certificate_pem)],
            credentials.authority_pem if admission.asks_for_certificates else None,
            require_client_auth=admission.asks_for_certificates,
        )
        host, _, _ = address.rpartition(":")
        try:
            port = self._server.add_secure_port(address, secured)
        except RuntimeError:
            port = 0
        if port == 0:
            raise InputError(f"--listen {address} is not possible: the address is in use, or not one of this machine")
        self.address = f"{host}:{port}"
        self._server.start()

    def close(self) -> None:
        """Stop listening, and end what is left of all sessions."""
        self._server.stop(grace=1.0).wait()
        self._threads.shutdown(wait=True)
        for thread in [*self._beside]:
            thread.join(ENDING_S)

    def _session(self, pieces: Iterator[bytes], context: "grpc.ServicerContext") -> Iterator[bytes]:
        """Yield what the server sends a client, as long as the session lasts."""
        try:
            admitted = self._admission.admit(context)
        except ValueError as error:
            self._turned_away(f"{context.peer()}: {error}")
            return
        client = admitted.client
        if not self._opens(client, context):
            self._turned_away(f"{context.peer()}: client {client} has {SESSIONS_OF_ONE} sessions already")
            return
        session = Session("client", min(self._largest, FIRST_LARGEST))  # who greets it lets larger frames in
        session.peer_expires = admitted.expires
        session.when_lost = lambda: self._end(context)
        context.add_callback(lambda: session.lose("the connection ended"))
        self._start(f"from client {client}", take_in, session, pieces)
        self._start(f"greet client {client}", self._greet, client, session, context.peer())
        yield from going_out(session)

    def _opens(self, client: int, context: "grpc.ServicerContext") -> bool:
        """Count a stream of a client until it has ended; return whether the client may have it."""
        with self._counting:
            self._open[client] += 1
            may = self._open[client] <= SESSIONS_OF_ONE

        def ended() -> None:
            with self._counting:
                self._open[client] -= 1

        if not context.add_callback(ended):
            ended()
        return may

    def _end(self, context: "grpc.ServicerContext") -> None:
        """Give the last that a session has sent some time to be on its way, and then end its stream.

        It does not end by itself where the client takes nothing any more.
        """
        ending = threading.Timer(ENDING_S, context.cancel)
        ending.daemon = True
        if context.add_callback(ending.cancel):
            ending.start()

    def _start(self, name: str, what: Callable[..., None], *arguments: Any) -> None:
        """Start a thread beside those of gRPC, which is known until it has ended."""

        def through() -> None:
            try:
                what(*arguments)
            finally:
                self._beside.discard(thread)

        thread = threading.Thread(target=through, daemon=True, name=name)
        self._beside.add(thread)
        thread.start()


def take_in(session: Session, pieces: Iterator[bytes]) -> None:
    """Hand a session what arrives, until nothing more does."""
    why = "the connection ended"
    try:
        for frame in frames_of(pieces, lambda: session.largest):
            session.arrived(frame)
    except WireError as error:
        why = str(error)
    except ChannelClosedError:
        return
    except Exception as error:  # gRPC raises what has ended the stream, of a class that it does not document
        why = _words(error)
    session.lose(why)


def going_out(session: Session) -> Iterator[bytes]:
    """Yield the pieces of what a session sends, until it is closed."""
    while True:
        try:
            frame = session.outgoing.get()
        except ChannelClosedError:
            return
        yield from pieces_of(frame)


def connect(
    address: str, credentials: ClientCredentials | TokenCredentials, largest: int, keepalive_s: float = KEEPALIVE_S
) -> tuple[Session, Callable[[], None]]:
    """Return a session with a server, and what closes its connection; whether anybody is there shows by its frames.

    Args:
        address: HOST:PORT.
        credentials: of the client.
        largest: bytes of the largest frame that is taken.
        keepalive_s: see `KEEPALIVE_S`.

    Raises:
        InputError: the address is none.
    """
    grpc = quiet_grpc()
    require_address(address, f"'{address}'", lowest_port=1)
    if isinstance(credentials, TokenCredentials):
        secured = grpc.ssl_channel_credentials(credentials.authority_pem)
        said: tuple[tuple[str, str], ...] = ((TOKEN_KEY, credentials.token),)
    else:
        secured = grpc.ssl_channel_credentials(
            credentials.authority_pem, credentials.key_pem, credentials.certificate_pem
        )
        said = ()
    channel = grpc.secure_channel(address, secured, options=options(keepalive_s))
    session = Session("server", largest)
    call = channel.stream_stream(f"/{SERVICE}/{METHOD}")(going_out(session), metadata=said)
    taking = threading.Thread(target=take_in, args=(session, call), daemon=True, name="from the server")
    taking.start()

    def close() -> None:
        session.lose("it was closed")
        call.cancel()
        channel.close()
        taking.join(ENDING_S)

    return session, close


def _words(error: Exception) -> str:
    details = getattr(error, "details", None)
    text = str((details() if callable(details) else str(error)) or type(error).__name__)
    meant = [plain for said, plain in NOT_BELIEVED.items() if said in text]
    return one_line(f"{meant[0]}; {text}" if meant else text)  # the other side may have written it
