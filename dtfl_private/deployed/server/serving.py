"""Serve a run: wait for its clients, then the rounds of `train`, with everything measured."""

import hashlib
import math
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dtfl_private.data.pixel_sums import server_answers
from dtfl_private.data.registration import Registration
from dtfl_private.deployed.client.own_data import registration_of
from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.server.entrance import Entrance
from dtfl_private.deployed.server.greeting import Greeter, Greeting
from dtfl_private.deployed.server.journal import Journal
from dtfl_private.deployed.server.newcomers import LEAST_MEASURING_S, MOST_MEASURING_S, Newcomers
from dtfl_private.deployed.server.opening import Opening, open_run
from dtfl_private.deployed.server.recording import ReceivedRounds
from dtfl_private.deployed.server.registry import Registry
from dtfl_private.deployed.server.remote_clients import RemoteClients
from dtfl_private.deployed.server.resumption import FREE, completed, images_before, require_same_run, scale_before
from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.deployed.server.wall_clock import WallClock
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder, disk_refusals_named, locked
from dtfl_private.experiments.run_folder.place import checked_place, new_folder, require_unused
from dtfl_private.experiments.run_folder.provenance import note_images, recorded_images, recorded_run
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.train import begun
from dtfl_private.experiments.train_loop import run_rounds
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ChannelScale, ModelDownload
from dtfl_private.runtime.callback import Callback, Callbacks, told
from dtfl_private.runtime.device import available_cores, deterministic_kernels, one_thread
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.round_record import Record
from dtfl_private.training.tasks import ClientTask, ImageRange
from dtfl_private.training.worker import honest_download


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a server's operator decides.

    Attributes:
        entrance: how clients come to it.
        rules: how rounds are held.
        minimum: the first round begins with so many clients at least; None: with all of them.
        out: run folder; None: a fresh one below ``runs``.
        resume: go on with the run in ``out``.
        linger_s: once the run has ended, stay for so long to tell it to clients that are away.
    """

    entrance: Entrance
    rules: Rules
    minimum: int | None = None
    out: Path | None = None
    resume: bool = False
    linger_s: float = 0.0


def serve(config: TrainConfig, serving: Serving, callbacks: Sequence[Callback] = ()) -> Run:
    """Train with real clients, and leave the run folder that `train` leaves.

    Args:
        config: of the run.
        serving: what the operator decides.
        callbacks: hear how the run proceeds.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: the run could not go on; what is on the disk can be resumed.
    """
    require_deploy_extra()
    after = _AfterRounds(serving.entrance.expires)
    with told([*callbacks, after]) as listener, one_thread(), deterministic_kernels():
        opening = open_run(config)
        minimum = config.clients if serving.minimum is None else serving.minimum
        if not 1 <= minimum <= config.clients:
            raise InputError(f"--min-clients {minimum} is not possible: the run has {config.clients} clients")
        if serving.out is not None:  # before any client is waited for, which would refuse another run for good
            if serving.resume:
                require_same_run(opening, serving.out)
            else:
                require_unused(serving.out)
        run_id = _run_id(serving)
        connected = Registry(config.clients, images_before(serving.out, config.clients))
        journal = Journal(connected, listener.note)
        greeting = Greeting(
            run=run_id, config_sha256=hashlib.sha256(opening.agreed.encode()).hexdigest(), largest=opening.largest
        )
        greeter = Greeter(connected, opening, greeting, journal.greeted, journal.looked)
        opened = serving.entrance.let_in(
            clients=config.clients,
            largest=opening.largest,
            greet=greeter,
            turned_away=journal.turned_away,
        )
        try:
            journal.note(listening=opened.address)
            listener.note(f"listening at {opened.address}, for {minimum} of {config.clients} clients to begin with")
            _gather(connected, minimum, serving, listener)
            return _Run(opening, serving, run_id, connected, greeter, journal, listener, after).through()
        finally:
            opened.close()


def _gather(connected: Registry, minimum: int, serving: Serving, listener: Callbacks) -> None:
    """Wait for the clients to begin with, as long as it takes; for those of a run that is resumed, for a deadline."""
    within_s = serving.rules.deadline_s if _resumed(serving) is not None else math.inf
    end_s = time.monotonic() + within_s
    while not connected.wait(minimum, timeout_s=min(1.0, within_s)):  # Ctrl-C ends it
        if time.monotonic() > end_s and (here := len(connected.connected())):
            listener.note(f"going on with {here} of {minimum} clients: the others were not back after {within_s:g} s")
            return


def _resumed(serving: Serving) -> str | None:
    """Return the id of the run that is resumed; None if it is a new one."""
    if not serving.resume or serving.out is None:
        return None
    return recorded_run(RunFolder(path=serving.out))


def _run_id(serving: Serving) -> str:
    """Return the id of a run that is resumed, or a new one: clients count what they spend by it."""
    return _resumed(serving) or secrets.token_hex(8)


class _AfterRounds(Callback):
    """What a server does around each round: it says where it is, keeps what was received, and acknowledges updates."""

    def __init__(self, expires: datetime | None) -> None:
        self._expires = expires
        self.executor: RemoteClients | None = None
        self.journal: Journal | None = None

    def round_planned(self, plan: RoundPlan) -> None:
        """Say that the round is under way."""
        if self.journal is None:
            return
        self.journal.phase("training", plan.round)
        if self._expires is not None and datetime.now(UTC) > self._expires:
            self.journal.say(
                f"the server's certificate has expired on {self._expires:%Y-%m-%d}: no client can connect any more; "
                "renew it with `dtfl-private deploy renew FOLDER server`, and start the server anew with --resume"
            )
            self._expires = None  # once is enough

    def round_finished(self, record: Record) -> None:
        """Acknowledge the updates: the round is on the disk, and a server that is killed now loses nothing of it."""
        if self.executor is not None and self.journal is not None:
            self.executor.acknowledge()
            self.journal.played(record["round"], self.executor.played)


class _Run:
    """One run of a server, once enough of its clients are there."""

    def __init__(
        self,
        opening: Opening,
        serving: Serving,
        run_id: str,
        registry: Registry,
        greeter: Greeter,
        journal: Journal,
        listener: Callbacks,
        after: _AfterRounds,
    ) -> None:
        self._opening, self._serving, self._run_id = opening, serving, run_id
        self._folder: RunFolder | None = None
        self._registry, self._greeter, self._journal, self._listener, self._after = (
            registry,
            greeter,
            journal,
            listener,
            after,
        )

    def through(self) -> Run:
        """Train, and say goodbye."""
        serving, scale = self._serving, self._scale()
        registration = replace(
            registration_of(self._opening.config, self._opening.dataset, self._opening.apart, scale), **self._said()
        )
        prepared = prepare(self._opening.config, held=self._held(registration))
        path, is_new = checked_place(prepared, serving.out, serving.resume, FREE)
        executor = self._executor(prepared, path)
        prepared = replace(prepared, settings=replace(prepared.settings, clock=self._clock(prepared, executor, scale)))
        self._after.executor, self._after.journal = executor, self._journal
        try:
            folder = new_folder(
                prepared,
                path,
                is_new,
                self._more(),
            )
            self._folder = folder
            with locked(folder):
                self._journal.opened(folder)
                state, records = begun(folder, prepared, (), self._listener, resume=serving.resume)
                with disk_refusals_named(folder):
                    records, summary = run_rounds(
                        folder,
                        prepared,
                        state,
                        records,
                        executor,
                        self._listener,
                        transcripts=executor.recording,
                        renewed=self._renewed,
                    )
                reason = summary["stopped"] or f"all {len(records)} rounds are done"
                self._journal.phase("ended", len(records), reason)
                self._listener.note(executor.wire_line)
                self._listener.note(executor.beyond_line)
                self._part(reason)
        finally:
            executor.close()
        self._listener.run_finished(folder.path, summary)
        return Run(folder=folder, config=prepared.config, records=records, summary=summary)

    def _more(self) -> dict[str, Any]:
        """Return what environment.json says of a deployed run."""
        return {"clock": "wall", "run": self._run_id, "images": self._registry.images_K.tolist()}

    def _scale(self) -> ChannelScale | None:
        """Return by what all clients normalise: what they have said of their pixels comes to, or came to before."""
        if not self._opening.needs_sums:
            return None
        if self._serving.resume and self._serving.out is not None:
            before = scale_before(RunFolder(path=self._serving.out))
            if before is not None:
                return before
        sums = [known.sums for known in self._registry.all_registered().values() if known.sums is not None]
        return server_answers(sums)[0]

    def _said(self) -> dict[str, Any]:
        """Return what was said of images before round 1, for the account of what has left the clients."""
        known = self._registry.all_registered()
        sums = [known[client].sums for client in sorted(known)]
        said = [one for one in sums if one is not None]
        return {"sums": said, "scales": server_answers(said)} if said else {}

    def _held(self, registration: Registration) -> HeldData:
        nothing = np.arange(0)
        return HeldData(
            dataset=self._opening.dataset,
            parts=[nothing] * self._registry.clients,
            images_K=self._images_K(),
            registration=registration,
        )

    def _images_K(self) -> IntArray:
        """Return the clients' training images, also of those that never came."""
        return completed(self._registry.images_K)

    def _renewed(self, prepared: Prepared) -> Prepared:
        """Return the run with the images of clients that have come since, which are written down as well."""
        said = self._registry.images_K.tolist()
        if self._folder is not None and recorded_images(self._folder) != said:
            note_images(self._folder, said)
        settings, images_K = prepared.settings, self._images_K()
        if np.array_equal(settings.schedule.images_K, images_K):
            return prepared
        schedule = replace(settings.schedule, images_K=images_K)
        privacy = replace(settings.privacy, images_K=images_K)
        return replace(prepared, settings=replace(settings, schedule=schedule, privacy=privacy))

    def _executor(self, prepared: Prepared, path: Path) -> RemoteClients:
        rows = prepared.settings.schedule.table.rows
        return RemoteClients(
            prepared.worker,
            self._registry,
            self._serving.rules,
            workers=min(prepared.config.server_workers, available_cores()),
            shapes={row.tier: row.cut_shape for row in rows},
            recording=ReceivedRounds(prepared.config, RunFolder(path=path).transcript),
            judged=[ImageRange(on=prepared.settings.judged.on)],
        )

    def _clock(self, prepared: Prepared, executor: RemoteClients, scale: ChannelScale | None) -> WallClock:
        setup, weights = prepared.worker, prepared.initial.weights
        shallowest = int(prepared.settings.schedule.table.tiers_M[0])

        def probe(client: int, round_number: int) -> tuple[ModelDownload, float]:
            """Return any weights of the shallowest tier: how long a batch takes does not depend on them."""
            task = ClientTask(
                client=client,
                round=round_number,
                tier=shallowest,
                lr=prepared.config.lr,
                batches=1,
                completes=True,
            )
            return honest_download(setup, task, weights), prepared.config.lr

        newcomers = Newcomers(
            self._registry,
            probe,
            batch_size=setup.batch_size,
            scale=scale,
            within_s=min(max(LEAST_MEASURING_S, self._serving.rules.deadline_s), MOST_MEASURING_S)
            + self._serving.entrance.turn_s,
            gave_up=self._journal.gave_up,
        )
        return WallClock(self._registry, executor, newcomers, images=self._images_K, waiting=self._wait)

    def _wait(self, why: str) -> None:
        """Say that no round can be played for now."""
        self._listener.note(f"waiting: {why}")
        self._journal.note(phase="waiting", message=why)

    def _part(self, reason: str) -> None:
        """Tell all clients that the run has ended; for those that are away, stay as long as the operator says."""
        self._greeter.end(reason)
        self._say_goodbye(reason)
        known = self._registry.all_registered()
        if self._greeter.all_told(known, 0.0) or self._serving.linger_s <= 0:
            return
        self._listener.note(
            f"the run has ended; staying up to {self._serving.linger_s:g} s to tell it to clients that are away "
            "(Ctrl-C ends that)"
        )
        end_s = time.monotonic() + self._serving.linger_s
        with suppress(KeyboardInterrupt):  # everything is on the disk
            while not self._greeter.all_told(known, 0.5) and time.monotonic() < end_s:
                self._say_goodbye(reason)  # to those that had been let in before

    def _say_goodbye(self, reason: str) -> None:
        """Tell the clients that are connected."""
        sessions = {client: self._registry.session(client) for client in self._registry.connected()}
        with ThreadPoolExecutor(max(1, len(sessions)), thread_name_prefix="goodbye") as threads:
            for client, session in sessions.items():
                if session is not None:
                    threads.submit(self._greeter.part, client, session, reason)
