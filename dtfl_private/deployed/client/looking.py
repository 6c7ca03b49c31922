"""Look at a run before taking part: its configuration, and what this client's own messages would leak under it."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.pixel_sums import server_answers
from dtfl_private.deployed.client.joining import GREETING_S, Joining, agreed_config, asked_of_clients
from dtfl_private.deployed.client.own_data import (
    asks_for_sums,
    held_by_client,
    in_classes_of,
    registration_of,
    sums_of,
)
from dtfl_private.deployed.client_store.self_audit import SelfAudit, self_audit
from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.server.opening import apart_in
from dtfl_private.deployed.sessions.session import SessionLostError, expect
from dtfl_private.deployed.sessions.transport import connect
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import FIRST_LARGEST
from dtfl_private.deployed.wire.kinds import Goodbye, Hello, Refused, Welcome
from dtfl_private.deployed.wire.server_checks import check_welcome
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import deterministic_kernels, one_thread


def look(joining: Joining, say: Callable[[str], None], callbacks: Sequence[Callback] = ()) -> SelfAudit:
    """Ask the server for its configuration, leave, and audit what this client would send under it.

    Nothing of the client's images leaves: not even how many there are. Nothing is agreed to: its store is not touched.

    Args:
        joining: what the operator decides.
        say: called with lines for the operator.
        callbacks: hear how the attacks proceed.

    Raises:
        InputError: the client refuses the run, or its images cannot be audited.
        RunError: the server is not there, or refuses the client.
    """
    require_deploy_extra()
    welcome = _welcome(joining)
    say(f"client {welcome.client} has seen the run's configuration and has left: now it attacks itself")
    say(f"the run: {asked_of_clients(welcome)}")
    with one_thread(), deterministic_kernels():
        config = agreed_config(joining, welcome)
        dataset = in_classes_of(joining.images(config, welcome.client), welcome.classes, welcome.input_shape)
        if not isinstance(dataset, ImageDataset):
            raise InputError(f"self-audit attacks images, and this client has {dataset.WORD}")
        apart = apart_in(config)
        # Other clients' pixels are not known yet: its own stand in for them.
        asked = asks_for_sums(config, dataset, apart)
        scale = server_answers([sums_of(dataset, welcome.client)])[0] if asked else None
        registration = registration_of(config, dataset, apart, scale)
        prepared = prepare(config, held=held_by_client(dataset, welcome.client, config.clients, registration))
        with tempfile.TemporaryDirectory() as folder:
            defenses = prepared.worker.defense.defenses
            return self_audit(config, dataset, Path(folder) / "run", defenses=defenses, callbacks=callbacks)


def _welcome(joining: Joining) -> Welcome:
    session, close = connect(joining.address, joining.credentials, FIRST_LARGEST)
    try:
        session.send(Hello(version=version("dtfl-private"), config_sha256="", last_run=""))
        message = session.receive(GREETING_S)
        if isinstance(message, Refused):
            raise RunError(f"the server refuses this client: {message.reason}")
        if isinstance(message, Goodbye):
            raise RunError(f"the run has ended: {message.reason}")
        welcome = expect(message, Welcome)
        check_welcome(welcome, client=joining.credentials.client)
    except (SessionLostError, TimeoutError, WireError) as error:
        why = str(error) or f"it said nothing for {GREETING_S:g} s"
        raise RunError(f"the server at {joining.address} does not tell its configuration: {why}") from None
    finally:
        close()
    return welcome
