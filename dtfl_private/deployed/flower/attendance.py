"""Which of Flower's nodes is which client, and which of them has nothing to do yet."""

import threading
import time
from collections.abc import Callable, Mapping

from dtfl_private.deployed.project.identity import client_name, client_number
from dtfl_private.printable import shown_value

Nodes = Mapping[int, str]
"""The nodes that are online: by id, the names under which their keys were registered with the SuperLink."""


class Attendance:
    """Begins with each client that is online and has nothing to do.

    Flower has authenticated a node by its key. Which client it is was said by whoever registered that key, under the
    name client-K; a node says nothing of that itself.

    Args:
        clients: how many there are.
        begin: called with a node and its client's number; the client is busy until `left` is called.
        say: called with a line for people.
        clock: seconds since any moment.
    """

    def __init__(
        self,
        clients: int,
        begin: Callable[[int, int], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients, self._begin, self._say, self._clock = clients, begin, say, clock
        self._busy: set[int] = set()
        self._not_before_s: dict[int, float] = {}
        self._told: set[int] = set()
        self._lock = threading.Lock()

    def seen(self, nodes: Nodes) -> None:
        """Take note of who is online."""
        by_client: dict[int, int] = {}
        for node, name in sorted(nodes.items()):
            client = self._client(name)
            if client is None:
                known = f"{client_name(0)} to {client_name(self._clients - 1)}"
                self._tell(node, f"its name is {shown_value(name)}, this run has {known}: register its key under one")
            elif client in by_client:
                self._tell(node, f"node {by_client[client]} is registered as {client_name(client)} too")
            else:
                by_client[client] = node
        for client, node in by_client.items():
            if self._is_free(client):
                self._begin(node, client)

    def left(self, client: int, pause_s: float) -> None:
        """Take note that a client has nothing to do any more, and wait so long before the next time."""
        with self._lock:
            self._busy.discard(client)
            self._not_before_s[client] = self._clock() + pause_s

    def _client(self, name: str) -> int | None:
        """Return the number of the client of a name, None if it is none of this run."""
        try:
            client = client_number(name)
        except ValueError:
            return None
        return client if client < self._clients else None

    def _is_free(self, client: int) -> bool:
        with self._lock:
            if client in self._busy or self._clock() < self._not_before_s.get(client, 0.0):
                return False
            self._busy.add(client)
            return True

    def _tell(self, node: int, why: str) -> None:
        if node not in self._told:
            self._told.add(node)
            self._say(f"node {node} of Flower takes no part: {why}")
