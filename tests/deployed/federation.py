"""A federation of real processes over loopback, for tests: a server and clients that can be watched and killed.

Processes are forked from one that has imported everything, and tell by a pipe what they do: nobody has to sleep.
"""

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dtfl_private.data.dataset import Dataset
from dtfl_private.deployed.client import joining
from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.client.own_data import part_of
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.project.credentials import read_client_credentials, read_server_credentials
from dtfl_private.deployed.project.init import make_project
from dtfl_private.deployed.server.entrance import OverTls
from dtfl_private.deployed.server.serving import Serving, serve
from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.kinds import Update, WireMessage
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.files import reading
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.runtime.callback import Callback
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.participant import Participant
from dtfl_private.training.round_record import Record

PATIENCE_S = 600.0
"""Far longer than anything here takes on a busy machine: only what hangs takes as long."""

TURN_S = 0.1
"""Of a limit on the CPU: as control groups have it."""

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

    def go_on(self) -> None:
        """Let it go on from where it pauses."""
        self.pipe.send("go on")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @contextlib.contextmanager
    def limited(self, share: float) -> Iterator[None]:
        """Give it this share of a core at most, by stopping it and letting it go on in turns: that needs no rights."""
        released = threading.Event()

        def take_turns() -> None:
            while not released.is_set():
                self.signal(signal.SIGSTOP)
                released.wait((1 - share) * TURN_S)
                self.signal(signal.SIGCONT)
                released.wait(share * TURN_S)

        turns = threading.Thread(target=take_turns)
        turns.start()
        try:
            yield
        finally:
            released.set()
            turns.join()

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
        """Start the server, and wait until it listens; ``rules``: see `Rules`, ``keepalive_s`` and ``linger_s``."""
        arguments = (self.project, to_toml(self.config), self.address, self.run, resume, minimum, rules)
        server = self._start("server", _serve, *arguments)
        self.address = server.wait_for("note", "listening at").split()[2].rstrip(",")
        return server

    def join(self, client: int, **options: Any) -> Peer:
        """Start a client.

        Args:
            client: its number.
            options: of `Joining`; ``part``: whose images it has, by default its own; ``without``: so many images fewer;
                ``hooks``: what it does otherwise than a client does, see `Hooks`; ``credentials``: folder of them.
        """
        options = {
            "store": self.folder / f"store-{client}",
            "part": client,
            "chance": "seeded",
            "first_wait_s": 0.2,
            **options,
        }
        options.setdefault("address", self.address)
        return self._start(f"client {client}", _join, self.project, client, to_toml(self.config), options)

    def join_all(self, **options: Any) -> list[Peer]:
        """Start all clients."""
        return [self.join(client, **options) for client in range(self.config.clients)]

    def restarted(self, peer: Peer) -> None:
        """Forget a peer that is to be started anew."""
        self.peers.remove(peer)
        peer.pipe.close()

    def _start(self, name: str, what: Any, *arguments: Any) -> Peer:
        context = multiprocessing.get_context("forkserver")
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
def federation(folder: Path, names: Sequence[str] = ("127.0.0.1",), **changes: Any) -> Iterator[Federation]:
    """Yield a federation with a small run, whose processes end with the block; ``names``: of the server."""
    config = make_config({**SMALL, **changes}, "test")
    make_project(folder / "project", config, names=names, now=datetime.now(UTC))
    made = Federation(folder=folder, config=config)
    try:
        yield made
    finally:
        made.close()


class _Telling(Callback):
    """Tells a pipe how a server proceeds, and keeps the weights after each round."""

    def __init__(self, pipe: Connection, run: Path) -> None:
        self._pipe, self._run, self._lock = pipe, run, threading.Lock()

    def note(self, text: str) -> None:
        with self._lock:  # lines come from all threads
            self._pipe.send(("note", text))

    def round_planned(self, plan: RoundPlan) -> None:
        self._keep(plan.round - 1)  # where a server was killed before it could

    def run_finished(self, folder: Path, summary: Mapping[str, Any]) -> None:
        self._keep(summary["rounds"])

    def _keep(self, number: int) -> None:
        kept = self._run.with_name(f"model-{number}.safetensors")
        if number and not kept.exists():
            shutil.copyfile(self._run / "model.safetensors", kept.with_suffix(".tmp"))
            kept.with_suffix(".tmp").replace(kept)

    def round_finished(self, record: Record) -> None:
        self._keep(record["round"])
        with self._lock:
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
            entrance=OverTls(listen=address, credentials=credentials, keepalive_s=rules.pop("keepalive_s", 10.0)),
            linger_s=rules.pop("linger_s", 0.0),
            rules=Rules(**{"deadline_s": PATIENCE_S, **rules}),
            minimum=minimum,
            out=out,
            resume=resume,
        )
        run = serve(make_config(reading.parse_toml(config), "test"), serving, [_Telling(pipe, out)])
        answer(run.summary["final_accuracy"])


def _join(pipe: Connection, project: Path, client: int, config: str, options: dict[str, Any]) -> None:
    with _answering(pipe) as answer:
        hooks = options.pop("hooks", Hooks())
        hooks.set_up(pipe)
        side = Path(options.pop("credentials", project / "clients" / f"client-{client}"))
        credentials = read_client_credentials(
            side / "ca.pem", side / "client.pem", side / "client.key", now=datetime.now(UTC)
        )
        part, own = options.pop("part"), make_config(reading.parse_toml(config), "test")
        without = options.pop("without", 0)
        own_side = Joining(
            credentials=credentials,
            images=lambda _, __: _fewer(part_of(own, part), without),
            device="cpu",
            **options,
        )
        answer(join(own_side, lambda text: pipe.send(("say", text))))


def _fewer(dataset: Dataset, without: int) -> Dataset:
    kept = len(dataset.train_labels) - without
    return replace(dataset, train_images=dataset.train_images[:kept], train_labels=dataset.train_labels[:kept])


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a client in a test does beside what clients do.

    pauses: rounds and batches before which it stops and says so, until it is told to go on. slow: seconds that each
    batch takes longer in each round, from round 0, which is the probe; the last counts for all further ones. updates:
    folder in which it keeps every update that it sends, and what was acknowledged. namespace: of the network that it is
    in. version: of the package that it says it has.
    """

    pauses: tuple[tuple[int, int], ...] = ()
    slow: tuple[float, ...] = ()
    updates: Path | None = None
    namespace: str | None = None
    version: str | None = None

    def set_up(self, pipe: Connection) -> None:
        """Change this process, which is a client's own."""
        if self.namespace is not None:
            enter_network(self.namespace)
        if self.updates is not None:
            _keep_updates(self.updates)
        if self.version is not None:
            joining.version = lambda _: self.version  # type: ignore[attr-defined] # this process is no other's
        inner = Participant.messages

        def messages(participant: Participant) -> Iterator[SmashedBatch]:
            number = 0 if participant.task.batches == 1 else participant.task.round
            for batch in inner(participant):
                if self.slow:
                    time.sleep(self.slow[min(number, len(self.slow) - 1)])
                if (number, batch.batch) in self.pauses:
                    pipe.send(("paused", number))
                    pipe.recv()
                yield batch

        Participant.messages = messages  # type: ignore[method-assign] # this process is no other than a test's client


def enter_network(name: str) -> None:
    """Move this process to a network namespace: `os.setns` is not there before Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(handle, 0) != 0:
            raise OSError(ctypes.get_errno(), f"namespace {name} cannot be entered")
    finally:
        os.close(handle)


def _keep_updates(folder: Path) -> None:
    """Keep updates as they are sent, and note which are acknowledged, in the order of time."""
    folder.mkdir(exist_ok=True)
    send, acknowledged = Session.send, ClientStore.acknowledged

    def sending(session: Session, message: WireMessage, timeout_s: float | None = None) -> None:
        if isinstance(message, Update):
            said = message.message
            name = f"{said.round}-{said.client}-{time.monotonic_ns()}"
            kept = {"examples": torch.tensor(said.examples), **said.weights}
            save_file({key: tensor.contiguous() for key, tensor in kept.items()}, folder / f"{name}.tmp")
            (folder / f"{name}.tmp").replace(folder / f"{name}.safetensors")
        send(session, message, timeout_s)

    def acknowledging(store: ClientStore, number: int) -> None:
        acknowledged(store, number)
        (folder / f"{number}-{store._entered().client}.acknowledged").touch()

    Session.send, ClientStore.acknowledged = sending, acknowledging  # type: ignore[method-assign] # as above


@contextlib.contextmanager
def _answering(pipe: Connection) -> Iterator[Any]:
    try:
        yield lambda value: pipe.send(("ended", value))
    except Exception as error:  # whatever it is: the test is told
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
