"""Weights that a server has made to learn of single records: what leaves then is no more than what is charged."""

import dataclasses

import pytest
import torch

from dtfl_private.deployed.client.own_data import held_by_client, part_of, registration_of
from dtfl_private.deployed.client.taking_part import Client
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.server.opening import REAL_CLIENT, agreed_text, apart_in
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import Closed, OpenRound, Probe, Probed, Smashed, Update
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import honest_download
from tests.deployed.client.test_what_leaves import CLIENT, SESSION, TIER, Captured
from tests.deployed.federation import SMALL


@pytest.fixture
def joined(tmp_path):
    """Return what makes a client with these defenses, its session, and an honest download for a round of it."""
    with ClientStore(tmp_path / "store") as store:

        def made(*defenses, tier=TIER, **changes):
            config = make_config({**SMALL, "defense": list(defenses), "profiles": [REAL_CLIENT], **changes}, "test")
            own = part_of(config, CLIENT)
            registration = registration_of(config, own, apart_in(config), None)
            prepared = prepare(config, held=held_by_client(own, CLIENT, config.clients, registration))
            store.agree(agreed_text(config), accept=True)
            client = Client(prepared, CLIENT, "run", store, lambda _: None)
            task = ClientTask(client=CLIENT, round=1, tier=tier, lr=1e-3, batches=2, completes=True)
            return client, Captured(), honest_download(prepared.worker, task, prepared.initial.weights)

        yield made


def overflowing(download):
    """Return weights on which a record overflows that is unlike its own mean: nearly every image."""
    scales = [name for name, tensor in download.weights.items() if tensor.ndim == 1 and name.endswith("weight")]
    return dataclasses.replace(
        download, weights={**download.weights, scales[0]: torch.full_like(download.weights[scales[0]], 3e38)}
    )


def opened(download, **changes):
    said = {"lr": 1e-3, "batches": 2, "profile": REAL_CLIENT.name, "deadline_s": 60.0, **changes}
    return OpenRound(session=SESSION, message=download, **said)


def test_that_records_overflow_does_not_show_in_what_is_guaranteed(joined):
    client, session, download = joined("dp-activations:noise_multiplier=1", "dp-weights:noise_multiplier=1")
    client.answer(session, opened(overflowing(download)))
    assert [type(message) for message in session.messages] == [Smashed, Smashed, Update]  # as ever
    assert all(bool(message.message.smashed.isfinite().all()) for message in session.messages[:2])
    update = session.messages[-1].message
    assert all(bool(tensor.isfinite().all()) for tensor in [*update.weights.values(), *update.head.values()])


def test_how_long_a_batch_of_the_whole_network_takes_is_said_whatever_its_weights(joined):
    client, session, download = joined(method="dtfl-full", tier=5)
    client.answer(session, Probe(session=SESSION, message=overflowing(download), lr=1e-3))
    assert [type(message) for message in session.messages] == [Probed]


def test_no_round_is_acknowledged_but_the_one_that_was_begun(joined):
    client, session, download = joined()
    client.answer(session, opened(download))
    for lie in (2, 2**53):
        with pytest.raises(WireError, match=f"^closed: round {lie}, this is round 1$"):
            client.answer(session, Closed(session=SESSION, round=lie, accepted=True))
    client.answer(session, Closed(session=SESSION, round=1, accepted=True))
    with pytest.raises(WireError, match=r"^open-round: round 1, expected 2 to 2$"):
        client.answer(session, opened(download))
