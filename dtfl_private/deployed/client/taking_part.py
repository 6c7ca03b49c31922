"""One client of a run: built from the agreed configuration and its own images, it answers what the server asks."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

from dtfl_private.deployed.client.kept_truth import KeptTruth
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.client_store.terms import AskedRound, Chance, Terms
from dtfl_private.deployed.server.opening import REAL_CLIENT
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import encode
from dtfl_private.deployed.wire.kinds import (
    Closed,
    Echo,
    Finish,
    Goodbye,
    Measure,
    OpenRound,
    Probe,
    Probed,
    Refused,
    Smashed,
    Update,
    WireMessage,
    Withdrawn,
)
from dtfl_private.deployed.wire.server_checks import (
    ExpectedDownload,
    check_closed,
    check_finish,
    check_measure,
    check_open_round,
    check_probe,
    check_tier,
)
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.models.cutting.staged import client_modules, split
from dtfl_private.privacy.round_releases import possible_guarantees
from dtfl_private.protocol.guarantees import SampledGaussian
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, State, WeightUpdate
from dtfl_private.training.methods.full import FullModelWork
from dtfl_private.training.participant import Participant
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker


class Client:
    """A client in one run.

    Args:
        prepared: the run as the client has built it.
        client: its number.
        run: id of the run.
        store: its own disk.
        say: called with a line for its operator.
        chance: where its noise, samples and orders come from.
        truth: keeps what its messages were made of; None: nobody does.

    Raises:
        InputError: the store cannot take part in the run.
    """

    def __init__(
        self,
        prepared: Prepared,
        client: int,
        run: str,
        store: ClientStore,
        say: Callable[[str], None],
        chance: Chance = "secret",
        truth: KeptTruth | None = None,
    ) -> None:
        self._client, self._run, self._store, self._say = client, run, store, say
        self._config, self._setup, self._truth = prepared.config, prepared.worker, truth
        self._tiers = frozenset(prepared.settings.schedule.table.tiers_M.tolist())
        self._wires = tuple(option.name for option in prepared.settings.schedule.wires)
        self.terms = Terms(
            client=client,
            records=len(prepared.worker.parts[client]),
            data=prepared.data_sha256,
            rounds=self._config.rounds,
            tiers=self._tiers,
            profiles=frozenset({REAL_CLIENT.name}),
            privacy=prepared.settings.privacy,
            chance=chance,
        )
        # Whoever chooses the weights must not learn on which records of this client they overflow: a round that ends
        # early would tell, past the noise.
        possible = possible_guarantees(self.terms.privacy, self.terms.records)
        self._hides_weights = any(isinstance(one, SampledGaussian) for released in possible for one in released)
        store.enter(run, self.terms)
        self._worker = Worker(
            prepared.worker,
            input_observer=None if truth is None else truth.fetched,
            randomness=store.randomness(prepared.worker.seed),
        )

    def answer(self, session: Session, message: WireMessage) -> WireMessage | None:
        """Do what a frame of the server asks; return the frame that has ended a round before its time, if one has.

        Raises:
            WireError: it asks for what it may not.
            SessionLostError: the server is gone.
        """
        match message:
            case Measure():
                check_measure(message, session=session.number, most_reply_bytes=session.largest // 2)
                payload = os.urandom(message.reply_bytes)
                session.send(Echo(session=session.number, number=message.number, payload=payload))
            case Probe():
                session.send(self._probed(session, message))
            case OpenRound():
                return self._play(session, message)
            case Closed():
                self._closed(session, message)
            case Finish():
                pass  # of a round that this client has just closed
            case _:
                raise WireError(f"frame '{message.kind}' where a round was due")
        return None

    def _closed(self, session: Session, message: Closed) -> None:
        if message.accepted:
            # By what is acknowledged a client knows which rounds may be asked for: no other can have been.
            check_closed(message, session=session.number, round_number=self._store.progress.round)
            self._store.acknowledged(message.round)
            self._say(f"round {message.round}: the update is in the average")
        else:
            self._say(f"round {message.round}: not in the average: {message.reason}")

    def _expected(self, session: Session) -> ExpectedDownload:
        return ExpectedDownload(
            session=session.number,
            client=self._client,
            tiers=self._tiers,
            wires=self._wires,
            batches=self.terms.batches,
            after_round=self._store.progress.acknowledged,
            last_round=self._config.rounds,
        )

    def _built(self, kind: str, session: Session, download: ModelDownload) -> tuple[State, State]:
        """Return the weights of the modules and the head that this client has built for a tier."""
        check_tier(kind, download, self._expected(session))
        head = self._worker.heads.get(download.tier)
        return (
            client_modules(self._worker.model, download.tier).state_dict(),
            {} if head is None else head.state_dict(),
        )

    def _task(self, download: ModelDownload, lr: float, batches: int, profile: str) -> ClientTask:
        return ClientTask(
            client=self._client,
            round=download.round,
            tier=download.tier,
            lr=lr,
            batches=batches,
            completes=True,
            memory=self._store.memory,
            wire=download.wire,
            profile=profile,
        )

    def _probed(self, session: Session, message: Probe) -> Probed:
        """Time one standard batch; nothing of it leaves this machine but how long it took."""
        weights, head = self._built("probe", session, message.message)
        check_probe(message, self._expected(session), weights, head)
        task = self._task(message.message, message.lr, 1, REAL_CLIENT.name)
        began_s = time.perf_counter()
        if task.tier == len(self._worker.model):
            with suppress(NonFiniteLossError):  # the weights may be any: what is asked is how long a batch takes
                FullModelWork().train(self._worker, [task], GlobalWeights(model=message.message.weights, heads={}))
        else:
            with self._drawing(task):
                next(self._participant(task, message.message).messages(), None)
        images = min(self._setup.batch_size, self.terms.records)
        return Probed(session=session.number, batch_s=time.perf_counter() - began_s, images=images)

    def _participant(self, task: ClientTask, download: ModelDownload) -> Participant:
        modules = split(self._worker.model, task.tier)[0]
        return Participant(self._worker, task, modules, self._worker.heads[task.tier], download)

    def _drawing(self, task: ClientTask) -> AbstractContextManager[None]:
        return self._worker.randomness.isolated("layers", task.client, task.round)

    def _play(self, session: Session, message: OpenRound) -> WireMessage | None:
        """Train one round; what leaves is charged before the first message does, and settled however it ends."""
        download = message.message
        weights, head = self._built("open-round", session, download)
        check_open_round(message, self._expected(session), weights, head)
        asked = AskedRound(
            run=self._run,
            round=download.round,
            tier=download.tier,
            batches=message.batches,
            profile=message.profile,
        )
        refusal = self._store.refuses(asked)
        if refusal is not None:
            self._withdraw(session, download.round, refusal.reason, refusal.detail)
            return None
        task = self._task(download, message.lr, message.batches, message.profile)
        try:
            if task.tier == len(self._worker.model):
                self._play_whole(session, task, download, asked)
            else:
                return self._play_half(session, task, download, asked)
        except NonFiniteLossError as error:
            self._withdraw(session, download.round, "its loss is not finite", str(error))
        return None

    def _withdraw(self, session: Session, number: int, reason: str, detail: str) -> None:
        self._say(f"round {number}: this client takes no part: {detail}")
        session.send(Withdrawn(session=session.number, round=number, reason=reason))

    def _play_half(
        self, session: Session, task: ClientTask, download: ModelDownload, asked: AskedRound
    ) -> WireMessage | None:
        watch = _Stopwatch()
        with watch:
            participant = self._participant(task, download)
        if participant.refuses:
            found = "; ".join(remark.text for remark in participant.remarks)
            self._withdraw(session, task.round, "a guard refuses the weights", found)
            return None
        self._say(f"round {task.round}: tier {task.tier}, {task.batches} batches")
        self._store.begin(asked)
        memory: State | None = None
        if self._truth is not None:
            self._truth.began()
        try:
            ending = self._send_batches(session, participant, watch)
            if ending is None:
                with watch:
                    update = participant.update(whatever_loss=self._hides_weights)
                assert update is not None  # it completes its round, and does not refuse
                self._close(session, update, watch.seconds, participant.images)
                if self._truth is not None:
                    self._truth.ended(task.round)
                memory = participant.remembered()
        finally:  # also where the server is gone: what has left has left, and the next round is another
            self._store.settle(participant.guarantees(), memory=memory)
        return ending

    def _send_batches(self, session: Session, participant: Participant, watch: "_Stopwatch") -> WireMessage | None:
        """Train and send, until all is done or the deadline is here; return the frame that ends the round before."""
        number, images = participant.task.round, 0
        with self._drawing(participant.task):
            for batch in watch.timing(participant.messages()):
                with watch:  # packing is work of this machine's CPU, for each batch, like training
                    frame = encode(Smashed(session=session.number, message=batch))
                session.send_packed(frame)
                if self._truth is not None:
                    self._truth.sent()
                images += len(batch.labels)
                match self._came(session):
                    case None:
                        continue
                    case Finish() as finish:
                        check_finish(finish, session=session.number, round_number=number)
                        self._say(f"round {number}: the deadline is here, after {images} images")
                        participant.stop_after(images)
                        return None
                    case (Closed() | Goodbye() | Refused()) as ending:
                        return ending
                    case other:
                        raise WireError(f"frame '{other.kind}' in the middle of a round")
        return None

    def _came(self, session: Session) -> WireMessage | None:
        """Return what the server has said meanwhile, if anything."""
        try:
            return session.receive(0.0)
        except TimeoutError:
            return None

    def _play_whole(self, session: Session, task: ClientTask, download: ModelDownload, asked: AskedRound) -> None:
        """Train the whole network, as in FedAvg: nothing but its weights leaves."""
        self._say(f"round {task.round}: the whole network, {task.batches} batches")
        self._store.begin(asked)
        watch = _Stopwatch()
        try:
            with watch:
                (result,) = FullModelWork().train(self._worker, [task], GlobalWeights(model=download.weights, heads={}))
        except BaseException:  # whatever it is: nothing has left
            self._store.settle(())
            raise
        if not result.model:
            found = "; ".join(remark.text for remark in result.remarks)
            self._store.settle(())
            self._withdraw(session, task.round, "a guard refuses the weights", found)
            return
        update = WeightUpdate(
            client=task.client,
            round=task.round,
            tier=task.tier,
            examples=result.examples,
            weights=result.model,
            head={},
        )
        memory: State | None = None
        try:
            self._close(session, update, watch.seconds, self._worker.images(task))
            memory = result.memory
        finally:
            self._store.settle(result.guarantees, memory=memory)

    def _close(self, session: Session, update: WeightUpdate, compute_s: float, images: int) -> None:
        session.send(Update(session=session.number, message=update, compute_s=compute_s, images=images))


class _Stopwatch:
    """Adds up the seconds that computing and packing take, without those that sending waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began_s

    def timing(self, batches: Iterator[SmashedBatch]) -> Iterator[SmashedBatch]:
        """Yield the same batches; the time until each is there counts."""
        while True:
            with self:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
