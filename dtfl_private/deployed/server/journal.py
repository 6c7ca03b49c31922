"""Keeps sessions.json, so that `deploy status` can say who is there, and tells of what is new as it happens."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from dtfl_private.deployed.server.played_round import Played
from dtfl_private.deployed.server.registry import Registry
from dtfl_private.deployed.sessions_file import ClientSession, Phase, Sessions, write_sessions
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading

MBIT = 1e6 / 8


class Journal:
    """What the server knows of its clients' sessions, on the disk after every change.

    Args:
        registry: of the clients.
        say: called with a line for people; from any thread.

    Attributes:
        say: likewise.
    """

    def __init__(self, registry: Registry, say: Callable[[str], None]) -> None:
        self._registry, self.say = registry, say
        self._lock = threading.Lock()
        self._folder: RunFolder | None = None
        self._clients = {client: ClientSession(client=client, connected=False) for client in range(registry.clients)}
        self._facts: dict[str, Any] = {"started": _now(), "listening": "", "phase": "waiting"}

    def opened(self, folder: RunFolder) -> None:
        """Begin to write, now that there is a folder."""
        self._folder = folder
        self.note()

    def note(self, **facts: Any) -> None:
        """Change what is said of the run: its address, phase, round, message."""
        with self._lock:
            self._facts |= facts
            self._write()

    def phase(self, phase: Phase, round_number: int, message: str = "") -> None:
        """Say what the server does."""
        self.note(phase=phase, round=round_number, message=message)

    def greeted(self, client: int, address: str, refused: str | None) -> None:
        """Note that a client has connected, or why it was turned away."""
        if client not in self._clients:
            self.turned_away(refused or "")
            return
        if refused is None:
            images = self._registry.images_K[client]
            self.say(f"client {client} is connected: {images} training images")
            sessions = self._clients[client].sessions + 1
            session = self._registry.session(client)
            self._change(
                client,
                since=_now(),
                sessions=sessions,
                address=address,
                images=int(images),
                expires=None if session is None else session.peer_expires,
            )
        else:
            self.say(f"client {client} was turned away: {refused}")
            self._change(client, last_error=refused)

    def looked(self, client: int) -> None:
        """Say that a client has read the configuration, and left: it may be looking before it takes part."""
        self.say(f"client {client} has read the configuration and left; it takes no part yet")

    def turned_away(self, why: str) -> None:
        """Note a connection that belongs to no client of the run."""
        self.say(f"a connection was turned away: {why}")
        with self._lock:
            self._facts |= {"turned_away": self._facts.get("turned_away", 0) + 1, "last_turned_away": why}
            self._write()

    def gave_up(self, client: int, why: str) -> None:
        """Note why a client was given up outside of a round."""
        self.say(f"client {client}: {why}")
        self._change(client, last_error=why)

    def played(self, number: int, played: Mapping[int, Played]) -> None:
        """Note what was seen of the clients of a round."""
        for client, one in played.items():
            link = self._registry.link(client)
            before = self._clients[client]
            for reason in one.refused:
                self.say(f"round {number}: client {client} is out: {reason}")
            self._change(
                client,
                tier=one.tier,
                round=number,
                round_s=one.round_s,
                compute_s=one.compute_s,
                down_mbit_s=None if link is None else min(link.down_bytes_s / MBIT, 1e9),
                up_mbit_s=None if link is None else min(link.up_bytes_s / MBIT, 1e9),
                refused_frames=before.refused_frames + len(one.refused),
                last_error=f"round {number}: {one.refused[-1]}" if one.refused else before.last_error,
            )

    def _change(self, client: int, **facts: Any) -> None:
        with self._lock:
            now = {**self._clients[client].model_dump(), **facts}
            self._clients[client] = ClientSession.model_validate(now)
            self._write()

    def _write(self) -> None:
        """Write the file; the lock is held."""
        if self._folder is None:
            return
        here = set(self._registry.connected())
        for client, known in self._clients.items():
            if known.connected != (client in here):
                self._clients[client] = known.model_copy(update={"connected": client in here, "since": _now()})
        sessions = Sessions(updated=_now(), clients=list(self._clients.values()), **self._facts)
        try:
            write_sessions(self._folder, sessions)
        except OSError as error:  # nothing depends on this file, and a session's thread is no place to end a run
            self.say(f"{self._folder.sessions} cannot be written: {reading.reason(error)}")


def _now() -> datetime:
    return datetime.now(UTC)
