"""Guards decide on the client, whatever its server asks: nothing leaves, nothing is charged, and the server is told."""

from dataclasses import replace

import pytest

from dtfl_private.deployed.client.own_data import held_by_client, part_of, registration_of
from dtfl_private.deployed.client.taking_part import Client
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.server.opening import REAL_CLIENT, agreed_text
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import OpenRound, Smashed, Update, Withdrawn
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import honest_download
from tests.deployed.client.test_what_leaves import CLIENT, SESSION, TIER, Captured
from tests.deployed.federation import SMALL


class Guarded:
    """A client with a guard, and rounds of a server that may be any."""

    def __init__(self, store: ClientStore, guard: str) -> None:
        config = make_config({**SMALL, "defense": [guard], "profiles": [REAL_CLIENT], "rounds": 20}, "test")
        own = part_of(config, CLIENT)
        held = held_by_client(own, CLIENT, config.clients, registration_of(config, own, (), None))
        self.prepared, self.store = prepare(config, held=held), store
        store.agree(agreed_text(config))
        self.client = Client(self.prepared, CLIENT, "run", store, lambda _: None)

    def asked(self, number: int, tier: int, factor: float) -> list:
        """Return what the client sends in a round whose weights are multiples of those of the start."""
        task = ClientTask(client=CLIENT, round=number, tier=tier, lr=1e-3, batches=1, completes=True)
        download = honest_download(self.prepared.worker, task, self.prepared.initial.weights)
        weights = {name: one * factor if one.is_floating_point() else one for name, one in download.weights.items()}
        session, download = Captured(), replace(download, weights=weights)
        opened = OpenRound(
            session=SESSION, message=download, lr=1e-3, batches=1, profile=REAL_CLIENT.name, deadline_s=60.0
        )
        self.client.answer(session, opened)
        return session.messages


@pytest.fixture
def store(tmp_path):
    with ClientStore(tmp_path) as made:
        yield made


def test_weights_that_jump_are_not_trained_on(store):
    guarded = Guarded(store, "weight-jump:action=refuse")
    for number in range(1, 8):
        assert [type(one) for one in guarded.asked(number, TIER, 1 + number / 1000)] == [Smashed, Update]
    before = store.ledger
    (told,) = guarded.asked(8, TIER, 5.0)
    assert told == Withdrawn(session=SESSION, round=8, reason="a guard refuses the weights")
    assert store.ledger == before
    assert [type(one) for one in guarded.asked(9, TIER, 1.009)] == [Smashed, Update]


def test_fewer_modules_than_a_client_has_agreed_to_hold_are_refused(store):
    guarded = Guarded(store, "tier-floor:modules=3")
    assert [type(one) for one in guarded.asked(1, 3, 1.0)] == [Smashed, Update]
    before = store.ledger
    with pytest.raises(WireError, match="open-round: tier 2, this client can be in 3"):
        guarded.asked(2, 2, 1.0)
    assert store.ledger == before
