"""A federation of real processes over loopback, for tests: a server and clients that can be watched and killed.

Processes are forked from one that has imported everything, and tell by a pipe what they do: nobody has to sleep.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.client.own_data import part_of
from dtfl_private.deployed.project.credentials import read_client_credentials, read_server_credentials
from dtfl_private.deployed.project.init import make_project
from dtfl_private.deployed.server.serving import Serving, serve
from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.files import reading
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record

PATIENCE_S = 90.0
"""Far longer than anything here takes on a busy machine: only what hangs takes as long."""

# Small networks have few layers; these tests are about what is sent, not about what is learnt.
SMALL = {
    "model": "resnet-8",
    "clients": 3,
    "rounds": 2,
    "max_train_images": 96,
    "batch_size": 16,
    "normalization": "constants:mean=0.5,std=0.5",
    "device": "cpu",
}


@dataclass
class Peer:
    """One process of a federation.

    name: for messages. process, pipe: to control it and to hear it. heard: all that it has said.
    """

    name: str
    process: BaseProcess
    pipe: Connection
    heard: list[tuple[str, Any]] = field(default_factory=list)

    def wait_for(self, what: str, starting: str = "") -> Any:
        """Return the next thing of a kind that it says, and that begins so if it is a text."""
        while self.pipe.poll(PATIENCE_S):
            try:
                kind, value = self.pipe.recv()
            except EOFError:
                break
            self.heard.append((kind, value))
            if kind == what and (not isinstance(value, str) or value.startswith(starting)):
                return value
        raise AssertionError(f"{self.name} has not said '{what} {starting}', but: {self.heard}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it as a crash of its machine would."""
        self.signal(signal.SIGKILL)
        self.process.join(PATIENCE_S)

    def ended(self) -> Any:
        """Return why it ended by itself, or what failed."""
        kind, value = "", None
        while kind not in ("ended", "failed"):
            assert self.pipe.poll(PATIENCE_S), f"{self.name} does not end: {self.heard}"
            kind, value = self.pipe.recv()
            self.heard.append((kind, value))
        self.process.join(PATIENCE_S)
        return value


@dataclass
class Federation:
    """A project, and its processes.

    folder: of all files. config: of the run. peers: the processes that were started. address: of the server.
    """

    folder: Path
    config: TrainConfig
    peers: list[Peer] = field(default_factory=list)
    address: str = "127.0.0.1:0"

    @property
    def project(self) -> Path:
        """Certificates and keys."""
        return self.folder / "project"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def serve(self, *, resume: bool = False, minimum: int | None = None, **rules: Any) -> Peer:
        """Start the server, and wait until it listens."""
        arguments = (self.project, to_toml(self.config), self.address, self.run, resume, minimum, rules)
        server = self._start("server", _serve, *arguments)
        self.address = server.wait_for("note", "listening at").split()[2].rstrip(",")
        return server

    def join(self, client: int, **options: Any) -> Peer:
        """Start a client; options are those of `Joining`, and ``part``, whose images it has, by default its own."""
        options = {"store": self.folder / f"store-{client}", "part": client, "chance": "seeded", **options}
        return self._start(f"client {client}", _join, self.project, client, to_toml(self.config), self.address, options)

    def join_all(self) -> list[Peer]:
        """Start all clients."""
        return [self.join(client) for client in range(self.config.clients)]

    def _start(self, name: str, what: Any, *arguments: Any) -> Peer:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["dtfl_private.cli.deploy_run", __name__])
        ours, theirs = context.Pipe()
        process = context.Process(target=what, args=(theirs, *arguments), name=name, daemon=True)
        process.start()
        theirs.close()
        peer = Peer(name, process, ours)
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        """End what still runs."""
        for peer in self.peers:
            if peer.process.is_alive():
                peer.signal(signal.SIGCONT)
                peer.kill()
            peer.pipe.close()


@contextlib.contextmanager
def federation(folder: Path, **changes: Any) -> Iterator[Federation]:
    """Yield a federation with a small run, whose processes end with the block."""
    config = make_config({**SMALL, **changes}, "test")
    make_project(folder / "project", config, names=["127.0.0.1"], now=datetime.now(UTC))
    made = Federation(folder=folder, config=config)
    try:
        yield made
    finally:
        made.close()


class _Telling(Callback):
    """Tells a pipe how a server proceeds."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def note(self, text: str) -> None:
        self._pipe.send(("note", text))

    def round_finished(self, record: Record) -> None:
        self._pipe.send(("round", record))


def _serve(
    pipe: Connection,
    project: Path,
    config: str,
    address: str,
    out: Path,
    resume: bool,
    minimum: int | None,
    rules: dict[str, Any],
) -> None:
    with _answering(pipe) as answer:
        side = project / "server"
        credentials = read_server_credentials(
            side / "ca.pem", side / "server.pem", side / "server.key", now=datetime.now(UTC)
        )
        serving = Serving(
            listen=address,
            credentials=credentials,
            rules=Rules(**{"deadline_s": 60.0, **rules}),
            minimum=minimum,
            out=out,
            resume=resume,
        )
        run = serve(make_config(reading.parse_toml(config), "test"), serving, [_Telling(pipe)])
        answer(run.summary["final_accuracy"])


def _join(pipe: Connection, project: Path, client: int, config: str, address: str, options: dict[str, Any]) -> None:
    with _answering(pipe) as answer:
        side = Path(options.pop("credentials", project / "clients" / f"client-{client}"))
        credentials = read_client_credentials(
            side / "ca.pem", side / "client.pem", side / "client.key", now=datetime.now(UTC)
        )
        part, own = options.pop("part"), make_config(reading.parse_toml(config), "test")
        joining = Joining(
            address=address,
            credentials=credentials,
            images=lambda _, __: part_of(own, part),
            device="cpu",
            **options,
        )
        answer(join(joining, lambda text: pipe.send(("say", text))))


@contextlib.contextmanager
def _answering(pipe: Connection) -> Iterator[Any]:
    try:
        yield lambda value: pipe.send(("ended", value))
    except Exception as error:  # whatever it is: the test is told
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
