"""An executor whose clients are on machines of their own: the server halves are trained here, as messages arrive."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from dtfl_private.deployed.server.played_round import Played, believable_compute_s, beyond_computing_s, transfer_seconds
from dtfl_private.deployed.server.recording import ReceivedRounds
from dtfl_private.deployed.server.registry import Registry
from dtfl_private.deployed.server.serving_client import Rules, ServedClient
from dtfl_private.deployed.server.shared_half import SharedHalf
from dtfl_private.deployed.server.vetting import BREAKING, Vetting
from dtfl_private.deployed.sessions.session import Session, SessionLostError
from dtfl_private.deployed.wire.checks import ExpectedRound
from dtfl_private.deployed.wire.kinds import Closed
from dtfl_private.deployed.wire.limits import read_dtype
from dtfl_private.errors import NonFiniteLossError, shortened
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import split
from dtfl_private.protection.client_context import Remark
from dtfl_private.protection.defense_chain import full_round
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import Message, State, WeightUpdate
from dtfl_private.randomness import Lasting
from dtfl_private.report.words.numbers import si
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.methods.shared_server import SharedServerWork
from dtfl_private.training.participant import joined, server_half
from dtfl_private.training.server import ServerHalf
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, Evaluation, ImageRange
from dtfl_private.training.worker import WorkerSetup, honest_download

ACKNOWLEDGING_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a client is to be told of its round: in the session in which it has played it; None if it had none."""

    session: Session | None
    round: int
    accepted: bool
    reason: str


Half = ServerHalf | SharedHalf
"""What the server trains for a client: its own modules, or those that it shares with others."""


@dataclass(frozen=True, kw_only=True)
class _Done:
    """A client's round once it is played: its update, the server's modules, what was seen of it."""

    update: WeightUpdate | None = None
    server: Half | None = None
    played: Played


class RemoteClients:
    """Runs the clients of a round on the other ends of their sessions.

    Args:
        setup: of the run; nobody's images are in it.
        registry: of the clients that are connected.
        rules: how rounds are held.
        workers: server halves that are trained at once.
        shapes: of the activations at each tier's cut, without the batch.
        recording: keeps what was received.
        judged: on which images the run is judged after each round.

    Attributes:
        played: what was seen of each client in the round under way, or in the last.
        ended_s: when the last client of that round was done, by the monotonic clock.
        recording: keeps what was received.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        registry: Registry,
        rules: Rules,
        *,
        workers: int,
        shapes: Mapping[int, Sequence[int]],
        recording: ReceivedRounds,
        judged: Sequence[ImageRange] = (ALL_TEST_IMAGES,),
    ) -> None:
        self._setup, self._registry, self._rules, self._shapes = setup, registry, rules, shapes
        self._judge = InProcess(setup)
        self._vetting = Vetting(self._judge.evaluate, judged)
        self._model = setup.numerics.place(copied(setup.model))
        # Torch's global generators are one for all threads: where layers draw, one takes its turn after the other.
        self._wire = None if setup.defense.wire is None else setup.defense.wire.kind
        self._draws = any(isinstance(module, _DropoutNd) and module.p > 0 for module in self._model.modules())
        self._turns = threading.Semaphore(1 if self._draws else workers)
        self.recording, self._recording_lock = recording, threading.Lock()
        self._threads = ThreadPoolExecutor(
            registry.clients, thread_name_prefix="client", initializer=torch.set_num_threads, initargs=(1,)
        )
        self.played: dict[int, Played] = {}
        self.ended_s = 0.0
        self._wire_bytes = self._message_bytes = 0
        self._workers, self._beyond_s = workers, list[float]()
        self._sessions: dict[int, Session | None] = {}
        self._closing: list[Closing] = []

    def start(self) -> None:
        """Do nothing: clients come by themselves."""

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks; all of them are under way at once."""
        yield from self._round(tasks, weights, {})

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the groups; clients of each train one network, as their messages come."""
        shared = {task.client: half for group in groups for half in [self._shared(group, weights)] for task in group}
        yield from self._round([task for group in groups for task in group], weights, shared)

    def _round(
        self, tasks: Sequence[ClientTask], weights: GlobalWeights, shared: Mapping[int, SharedHalf | None]
    ) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks; ``shared``: the networks of clients that share one."""
        self.played, self._closing = {}, []
        began_s = time.monotonic()
        images_K = self._registry.images_K
        self._sessions = {task.client: self._registry.ready(task.client) for task in tasks}
        started = [
            self._threads.submit(self._one, task, weights, int(images_K[task.client]), shared.get(task.client))
            for task in tasks
        ]
        done = [one.result() for one in started]
        networks = {id(half): half for half in shared.values() if half is not None}
        for half in networks.values():
            half.finish()
        # Behind a network that others train as well, a client's result is there when all are done.
        ended = list(self._threads.map(self._judged, tasks, done))
        self.ended_s = time.monotonic()
        seen = [played for _, played in ended]
        # A network that clients share takes one message after the other.
        workers = min(self._workers, len(networks) or self._workers)
        self._beyond_s.append(beyond_computing_s(self.ended_s - began_s, seen, workers))
        breaking = self._vetting.breaking([result for result, _ in ended], weights.model)
        for task, (result, played) in zip(tasks, ended, strict=True):
            if task.client in breaking:
                result, played = _left_out(result, played, BREAKING)
            self.played[task.client] = played
            self._wire_bytes += played.bytes_in + played.bytes_out
            self._message_bytes += sum(played.traffic.values())
            self._closing.append(
                Closing(
                    session=self._sessions[task.client],
                    round=task.round,
                    accepted=bool(result.model),
                    reason="; ".join(played.refused),
                )
            )
            yield result

    @property
    def wire_line(self) -> str:
        """How many bytes have crossed the wire in rounds since the server's start, against those of the messages."""
        share = self._wire_bytes / max(self._message_bytes, 1)
        return (
            f"on the wire: {si(self._wire_bytes, 'B')} in frames, {share:.3f} times the bytes of the messages in them"
        )

    @property
    def beyond_line(self) -> str:
        """How long rounds have lasted beyond computing since the server's start."""
        median_s, most_s = (float(figure(self._beyond_s or [0.0])) for figure in (median, max))
        return f"beyond computing: {median_s:.2f} s a round in the median, {most_s:.2f} s at most"

    def acknowledge(self) -> None:
        """Tell the clients of the last round what became of their updates: once that is on the disk."""
        for one in self._closing:
            if one.session is not None:
                reason = "" if one.accepted else shortened(one.reason, 1000)
                closed = Closed(session=one.session.number, round=one.round, accepted=one.accepted, reason=reason)
                with suppress(SessionLostError, TimeoutError):  # it is gone: what it has sent counts all the same
                    one.session.send(closed, ACKNOWLEDGING_S)
        self._closing = []

    def evaluate(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Evaluation:
        """Judge a model on images: all of the test set, or those that are named."""
        return self._vetting.evaluate(model, images)

    def logits(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Tensor:
        """Return what a model says of these images, (N, classes), float64."""
        return self._judge.logits(model, images)

    def close(self) -> None:
        """End what is under way: whoever is still connected may come back to the next server."""
        self._registry.lose_all("the server ends")
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _one(self, task: ClientTask, weights: GlobalWeights, images: int, shared: SharedHalf | None) -> _Done:
        """Play one client's round."""
        setup, session = self._setup, self._sessions[task.client]
        if session is None:
            return _Done(played=Played(client=task.client, tier=task.tier, refused=("it is not connected",)))
        download = honest_download(setup, task, weights)
        server = self._server(task, weights) if shared is None else shared
        with self._recording_lock:
            self.recording.opened(download)
        served = ServedClient(
            session=session,
            task=task,
            download=download,
            expected=ExpectedRound(
                session=session.number,
                client=task.client,
                download=download,
                batches=task.batches,
                records=images,
                batch_size=setup.batch_size,
                classes=setup.classes,
                cut_shape=() if server is None else tuple(self._shapes[task.tier]),
                dtype=read_dtype(task.wire or self._wire, setup.numerics),
                apart=setup.defense.at(task.tier, task.profile).releases_apart,
                send_every=setup.send_every,
            ),
            server=server,
            rules=self._rules,
            turns=self._turns if shared is None else shared.turns,
            draws=Lasting(setup.seed, "server layers", task.client, task.round) if self._draws else None,
            device=setup.numerics.device,
            observer=self._observe,
        )
        update, claimed_s, played = served.play()
        played = self._with_times(replace(played, claimed_s=min(claimed_s, played.round_s)))
        return _Done(update=update, server=server, played=played)

    def _judged(self, task: ClientTask, done: _Done) -> tuple[ClientResult, Played]:
        """Return one client's result, and what was seen of its round."""
        update, server, played = done.update, done.server, done.played
        try:
            return self._result(task, update, server, played), played
        except NonFiniteLossError as error:  # nobody may end the run for all others
            played = replace(played, completed=False, refused=(*played.refused, str(error)))
            return self._result(task, None, None, played), played

    def _server(self, task: ClientTask, weights: GlobalWeights) -> ServerHalf | None:
        """Return the modules behind a task's cut, a copy for this client; None if there are none."""
        if task.tier == len(self._model):
            return None
        return server_half(self._setup, task, copied(split(self._model, task.tier)[1]), weights)

    def _shared(self, group: Sequence[ClientTask], weights: GlobalWeights) -> SharedHalf | None:
        """Return the network that a group of clients trains; None for one that holds all of it."""
        first = min(group, key=lambda task: task.tier)
        half = self._server(first, weights)
        if half is None:
            return None
        work = self._setup.work
        assert isinstance(work, SharedServerWork)  # no other method that can be deployed has groups
        defenses = {task.client: self._setup.defense.at(task.tier, task.profile) for task in group}
        return SharedHalf(half, work.merge, defenses, self._turns if self._draws else threading.Semaphore(1))

    def _with_times(self, played: Played) -> Played:
        link = self._registry.link(played.client)
        transfer_s = 0.0 if link is None else transfer_seconds(played, link)
        return replace(played, compute_s=believable_compute_s(played.claimed_s, played, transfer_s))

    def _result(
        self, task: ClientTask, update: WeightUpdate | None, server: Half | None, played: Played
    ) -> ClientResult:
        model, head = _whole(task, update, server)
        return ClientResult(
            client=task.client,
            tier=task.tier,
            examples=update.examples if update is not None else 0,
            model=model,
            head=head,
            local_loss=None,
            server_loss=None if server is None else server.mean_loss(task.client),
            traffic=played.traffic,
            remarks=[Remark(text=reason) for reason in played.refused],
            guarantees=self._guarantees(task, update, played),
        )

    def _guarantees(self, task: ClientTask, update: WeightUpdate | None, played: Played) -> Sequence[Guarantee]:
        """Return what the agreed defenses guarantee of what has arrived: the server's copy of the client's ledger."""
        setup = self._setup
        defense = setup.defense.at(task.tier, task.profile)
        if not played.batches and update is None:
            return ()
        released = full_round(
            defense,
            records=int(self._registry.images_K[task.client]),
            batch_size=setup.batch_size,
            local_epochs=setup.local_epochs,
            batches=played.batches > 0,
            update=update is not None,
        )
        return defense.guarantees(released)

    def _observe(self, message: Message) -> None:
        with self._recording_lock:
            self.recording.observe(message)


def _left_out(result: ClientResult, played: Played, why: str) -> tuple[ClientResult, Played]:
    """Return what a client's round comes to whose update has come, and is not averaged."""
    played = replace(played, completed=False, refused=(*played.refused, why))
    remarks = [Remark(text=reason) for reason in played.refused]
    return replace(result, examples=0, model={}, head={}, remarks=remarks), played


def _whole(task: ClientTask, update: WeightUpdate | None, server: Half | None) -> tuple[State, State]:
    """Return the whole model and the auxiliary head; empty without an update."""
    if server is not None:
        return joined(task, update, server)
    return ({}, {}) if update is None else (update.weights, update.head)
