"""Join a run: connect, agree to its configuration, take part until it ends, and come back after every interruption."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dtfl_private.data.dataset import Dataset
from dtfl_private.deployed.client.kept_truth import KeptTruth
from dtfl_private.deployed.client.own_data import (
    asks_for_sums,
    held_by_client,
    in_classes_of,
    registration_of,
    sums_of,
)
from dtfl_private.deployed.client.taking_part import Client
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.client_store.terms import Chance
from dtfl_private.deployed.deployable import require_deployable
from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.project.credentials import ClientCredentials
from dtfl_private.deployed.server.opening import REAL_CLIENT, apart_in, without_server
from dtfl_private.deployed.sessions.session import Session, SessionLostError, expect
from dtfl_private.deployed.sessions.transport import KEEPALIVE_S, connect
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import FIRST_LARGEST
from dtfl_private.deployed.wire.kinds import (
    Closed,
    Goodbye,
    Hello,
    Refused,
    Register,
    Scale,
    Sums,
    Welcome,
    WireMessage,
)
from dtfl_private.deployed.wire.server_checks import check_scale, check_welcome
from dtfl_private.errors import InputError, RunError, shortened
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.setup.named_plugins import make_chain
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.files import reading
from dtfl_private.numerics import DeviceName
from dtfl_private.plugins.specification import parse, with_settings
from dtfl_private.printable import one_line
from dtfl_private.protocol.messages import ChannelScale
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.device import deterministic_kernels, no_denormals, one_thread

GREETING_S = 60.0
"""Seconds that the server has for each frame of its greeting."""

THE_SERVERS = "the server's configuration"

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between two attempts to connect: twice as long after each that fails."""


@dataclass(frozen=True, kw_only=True)
class OwnSide:
    """What a client's operator decides, whichever way it comes to the server.

    Attributes:
        images: returns its images in a run of this configuration, by its number.
        store: folder of its store.
        defenses: that act on this client besides those of the run.
        accept_config: agree to another configuration than before.
        device: where to compute.
        chance: where noise, samples and orders come from.
        keep_truth: folder in which to keep what messages were made of; None: nowhere.
        checkpoint: folder on this machine of the checkpoint that the run's network is from; None: where the run's
            configuration has it.
    """

    images: Callable[[TrainConfig, int], Dataset]
    store: Path
    defenses: Sequence[str] = ()
    accept_config: bool = False
    device: DeviceName = "auto"
    chance: Chance = "secret"
    keep_truth: Path | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Joining(OwnSide):
    """What the operator of a client decides that connects over TLS.

    Attributes:
        address: HOST:PORT of the server.
        credentials: of the client.
        keepalive_s: after so many seconds of silence the server is asked whether it is there.
        first_wait_s: before the second attempt to connect.
        patience_s: give up once the server has not been there for so long.
    """

    address: str
    credentials: ClientCredentials
    keepalive_s: float = KEEPALIVE_S
    first_wait_s: float = FIRST_WAIT_S
    patience_s: float = math.inf


@contextmanager
def ready_to_compute(own: OwnSide) -> Iterator[None]:
    """Compute as a client does: on one thread, deterministically, and no slower for numbers below the smallest one."""
    # A simulation that is to be repeated bit for bit has them.
    rounding = nullcontext() if own.chance == "seeded" else no_denormals()
    with one_thread(), deterministic_kernels(), rounding:
        yield


def join(joining: Joining, say: Callable[[str], None]) -> str:
    """Take part in a run until it has ended; return why it has.

    Args:
        joining: what the operator decides.
        say: called with lines for the operator.

    Raises:
        InputError: the client refuses the run, the server refuses the client, or its own input is wrong.
        RunError: the server has not been there for longer than the client's patience.
    """
    require_deploy_extra()
    with ready_to_compute(joining), ClientStore(joining.store) as store:
        taking_part = TakingPart(joining, joining.credentials.client, joining.address, store, say)
        wait_s, there_s = joining.first_wait_s, time.monotonic()
        while True:
            _require_unexpired(joining.credentials)
            session, close = connect(joining.address, joining.credentials, FIRST_LARGEST, joining.keepalive_s)
            try:
                ended = taking_part.through(session)
            except (SessionLostError, TimeoutError) as error:
                why = str(error) or f"the server said nothing for {GREETING_S:g} s"
            except WireError as error:
                why = f"the server's frame is refused: {error}"
            else:
                session.finish()
                return ended
            finally:
                close()
            if session.number:  # it had been greeted
                wait_s, there_s = joining.first_wait_s, time.monotonic()
            left_s = there_s + joining.patience_s - time.monotonic()
            if left_s <= 0:
                raise RunError(
                    f"the server at {joining.address} has not been there for {joining.patience_s:g} s ({why}): "
                    "start again with the same --store once it is"
                )
            say(f"not connected ({why}): trying again in about {wait_s:.0f} s")
            # Not all clients of a server that comes back are to knock at once.
            time.sleep(min(left_s, wait_s * random.uniform(0.75, 1.25)))  # no secret: any chance will do
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _require_unexpired(credentials: ClientCredentials) -> None:
    """Say why no server takes this client any more: TLS would not."""
    if datetime.now(UTC) > credentials.expires:
        raise InputError(
            f"the certificate of client {credentials.client} has expired on {credentials.expires:%Y-%m-%d}: renew it "
            f"with `dtfl-private deploy renew FOLDER client-{credentials.client}`"
        )


def _ended(message: WireMessage) -> str | None:
    """Return why the run has ended, if a frame says so.

    Raises:
        InputError: the server refuses this client.
    """
    if isinstance(message, Refused):
        raise InputError(f"the server refuses this client: {message.reason}")
    return message.reason if isinstance(message, Goodbye) else None


def agreed_config(own_side: OwnSide, welcome: Welcome) -> TrainConfig:
    """Return a run's configuration with what is a client's own affair.

    Whatever the server says of its own affairs is left out: it must not name folders of this machine.

    Raises:
        InputError: the server's configuration is none, or cannot be deployed.
    """
    agreed = _told(welcome)
    require_deployable(agreed)
    own: dict[str, Any] = {"device": own_side.device, "workers": 1, "profiles": [REAL_CLIENT]}
    if own_side.defenses:  # which must not make the network another one than the server's
        own["norm"] = resolved_norm(agreed, make_chain(agreed))
    model = agreed.model if own_side.checkpoint is None else _from_own_checkpoint(agreed, own_side.checkpoint)
    defense = [*agreed.defense, *own_side.defenses]
    return without_server(agreed).model_copy(update={**own, "model": model, "defense": defense})


def _told(welcome: Welcome) -> TrainConfig:
    """Return the configuration that a server has told.

    Raises:
        InputError: it is none.
    """
    try:
        return make_config(reading.parse_toml(welcome.config), THE_SERVERS)
    except ValueError as error:
        raise InputError(f"{THE_SERVERS} is no TOML: {error}") from None


def _from_own_checkpoint(agreed: TrainConfig, folder: Path) -> str:
    """Return the run's network with its checkpoint where this machine has it."""
    if "path" not in parse("model", agreed.model).settings:
        raise InputError(f"the run's network {agreed.model} is from no checkpoint: leave --checkpoint out")
    if "," in str(folder):
        raise InputError(f"--checkpoint '{folder}' has a comma, which a configuration cannot hold: rename it")
    return with_settings("model", agreed.model, {"path": folder})


def asked_of_clients(welcome: Welcome) -> str:
    """Return what a run asks of its clients, in a line for their operators."""
    config = _told(welcome)
    defenses = ", ".join(config.defense) or "none"
    return one_line(
        f"{config.method}, {config.model}, {number_of(config.rounds, 'round')} of {config.local_epochs} x all images; "
        f"defenses: {shortened(defenses, 200)}"
    )


class TakingPart:
    """One run, through all its sessions.

    Args:
        own: what the client's operator decides.
        client: its number.
        address: of the server, for people.
        store: the client's own disk.
        say: called with lines for the operator.
    """

    def __init__(self, own: OwnSide, client: int, address: str, store: ClientStore, say: Callable[[str], None]) -> None:
        self._own, self._number, self._address, self._store, self._say = own, client, address, store, say
        self._accepts = own.accept_config
        self._client: Client | None = None
        self._built_for: tuple[str, str, str] | None = None
        self._read: tuple[tuple[object, ...], Dataset] | None = None

    def through(self, session: Session) -> str:
        """Take part for one session; return why the run has ended, if the server says so in it."""
        welcome = self._welcomed(session)
        if isinstance(welcome, Goodbye):
            return welcome.reason
        client = self._built(session, welcome)
        try:
            while True:
                message: WireMessage | None = session.receive()
                while message is not None:
                    if (ended := _ended(message)) is not None:
                        return ended
                    # A scale that comes later has been told before.
                    message = None if isinstance(message, Scale) else client.answer(session, message)
        except SessionLostError:  # in the middle of what the server did not wait for
            for message in session.last_words():
                if (ended := _ended(message)) is not None:
                    return ended
                if isinstance(message, Closed):
                    client.answer(session, message)
            raise

    def _welcomed(self, session: Session) -> Welcome | Goodbye:
        """Return the server's welcome, to which the client has agreed; a goodbye where the run has ended meanwhile."""
        store = self._store
        session.send(
            Hello(
                version=version("dtfl-private"),
                config_sha256=store.config.sha256 if store.config is not None else "",
                last_run=store.last_run,
            )
        )
        message = session.receive(GREETING_S)
        if _ended(message) is not None:
            return expect(message, Goodbye)
        welcome = expect(message, Welcome)
        check_welcome(welcome, client=self._number)
        session.number, session.largest = welcome.session, welcome.largest
        self._say(f"connected to {self._address} as client {welcome.client}")
        agreed_config(self._own, welcome)  # what cannot be taken part in is not kept in the place of what can
        # The operator has agreed to one other configuration, not to all that may follow it.
        accept, self._accepts = self._accepts, False
        if store.agree(welcome.config, welcome.classes, accept=accept):
            self._say(
                f"agreed to the run's configuration, which is kept in {self._own.store}: {asked_of_clients(welcome)}"
            )
        return welcome

    def _built(self, session: Session, welcome: Welcome) -> Client:
        """Return the client in this run, which is built anew if anything about the run has changed."""
        config = agreed_config(self._own, welcome)
        dataset = self._images(config, welcome)
        register = Register(session=session.number, images=len(dataset.train_labels))
        if not asks_for_sums(config, dataset, apart_in(config)):
            client = self._client_for(welcome, config, dataset, None)
            session.send(register)  # from now on the server counts on answers
            return client
        session.send(register)
        return self._client_for(welcome, config, dataset, self._scale(session, welcome, dataset))

    def _images(self, config: TrainConfig, welcome: Welcome) -> Dataset:
        """Return this client's images; they are read once for all sessions of a run."""
        read_for = (welcome.run, welcome.config_sha256, welcome.classes, welcome.input_shape)
        if self._read is None or self._read[0] != read_for:
            own = self._own.images(config, welcome.client)
            self._read = read_for, in_classes_of(own, welcome.classes, welcome.input_shape)
        return self._read[1]

    def _client_for(
        self, welcome: Welcome, config: TrainConfig, dataset: Dataset, scale: ChannelScale | None
    ) -> Client:
        numbers = "" if scale is None else repr((scale.mean.tolist(), scale.deviation.tolist()))
        built_for = (welcome.run, welcome.config_sha256, numbers)
        if self._client is None or self._built_for != built_for:
            registration = registration_of(config, dataset, apart_in(config), scale)
            held = held_by_client(dataset, welcome.client, config.clients, registration)
            prepared = prepare(config, held=held)
            kept = self._own.keep_truth
            truth = None if kept is None else KeptTruth(kept, welcome.client)
            chance = self._own.chance
            self._client = Client(prepared, welcome.client, welcome.run, self._store, self._say, chance, truth)
            self._built_for = built_for
            self._say(self._store.chance_line)
        return self._client

    def _scale(self, session: Session, welcome: Welcome, dataset: Dataset) -> ChannelScale:
        """Tell the server the sums of this client's pixels, and return what all clients' sums come to."""
        sums = sums_of(dataset, welcome.client)
        session.send(Sums(session=session.number, message=sums))
        self._say("waiting for the next round, or for other clients to begin with")
        frame = expect(session.receive(), Scale)
        channels = dataset.input_shape[0]
        check_scale(frame, session=session.number, client=welcome.client, channels=channels)
        return frame.message
