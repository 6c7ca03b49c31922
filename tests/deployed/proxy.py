"""A cable between a client and a server, which can be cut, or go dead without a word."""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

PIECE_BYTES = 2**16


class Cable:
    """Passes bytes on between whoever connects to ``address`` and a server.

    Args:
        to: HOST:PORT of the server.

    Attributes:
        address: where to connect.
    """

    def __init__(self, to: str) -> None:
        self.to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._passes = threading.Event()
        self._passes.set()
        self._closed = False
        self._start(self._accept)

    def cut(self) -> None:
        """Break all connections: both ends are told so by a reset."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def die(self) -> None:
        """Pass on nothing more; no end is told."""
        self._passes.clear()

    def revive(self) -> None:
        """Pass on what waits, and all that comes."""
        self._passes.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._passes.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _start(self, what, *arguments) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            host, _, port = self.to.rpartition(":")
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:  # the server is not there: nor is anybody for the client
                near.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            self._start(self._pass_on, near, far)
            self._start(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                self._passes.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
