"""What a client sends, byte by byte: nothing of it is what must stay."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dtfl_private.deployed.client import taking_part
from dtfl_private.deployed.client.own_data import held_by_client, part_of, registration_of
from dtfl_private.deployed.client.taking_part import Client
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.server.opening import REAL_CLIENT, agreed_text
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import OpenRound, Smashed, Update, WireMessage
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.training.participant import Participant
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import honest_download
from tests.deployed.federation import SMALL

CLIENT, TIER, SESSION = 1, 2, 7
DEFENSES = ["learned-noise", "label-rr:epsilon=3"]


class Captured(Session):
    """A session whose frames are kept instead of being sent."""

    def __init__(self) -> None:
        super().__init__("server", 2**30)
        self.number = SESSION
        self.sent: list[bytes] = []
        self.losses: list[float] = []

    def send_packed(self, frame: bytes, timeout_s: float | None = None) -> None:
        self.sent.append(frame)

    @property
    def messages(self) -> list[WireMessage]:
        return [decode(frame, from_="client", largest=self.largest) for frame in self.sent]

    @property
    def frames(self) -> bytes:
        return b"".join(self.sent)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A client's round: its session, its images, its store's folder, its run."""
    config = make_config({**SMALL, "defense": DEFENSES, "profiles": [REAL_CLIENT]}, "test")
    own = part_of(config, CLIENT)
    prepared = prepare(config, held=held_by_client(own, CLIENT, config.clients, registration_of(config, own, (), None)))
    folder, session = tmp_path_factory.mktemp("store"), Captured()
    update, losses, now = Participant.update, session.losses, [0.0]

    def taking_a_second(message: WireMessage) -> bytes:
        now[0] += 1
        return encode(message)

    def noting(participant: Participant, **given):
        losses.append(participant._half.mean_loss)
        return update(participant, **given)

    with pytest.MonkeyPatch.context() as patched, ClientStore(folder) as store:
        patched.setattr(Participant, "update", noting)
        patched.setattr(taking_part, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        patched.setattr(taking_part, "encode", taking_a_second)
        store.agree(agreed_text(config))
        client = Client(prepared, CLIENT, "run", store, lambda _: None)
        task = ClientTask(client=CLIENT, round=1, tier=TIER, lr=1e-3, batches=2, completes=True)
        download = honest_download(prepared.worker, task, prepared.initial.weights)
        client.answer(
            session,
            OpenRound(session=SESSION, message=download, lr=1e-3, batches=2, profile=REAL_CLIENT.name, deadline_s=60.0),
        )
        memory = store.memory
    return session, own, folder, prepared, memory


def test_batches_and_an_update_leave_and_nothing_else(played):
    session = played[0]
    assert [type(message) for message in session.messages] == [Smashed, Smashed, Update]


def test_what_packing_the_batches_takes_counts_as_computing(played):
    """On a slow machine it is a part of what each batch takes; no link is to blame."""
    assert played[0].messages[-1].compute_s == 2.0


def test_no_image_leaves_stored_or_normalised(played):
    session, own, _, prepared, _ = played
    sent = session.frames
    for number in range(len(own.train_images)):
        stored = own.train_images[number : number + 1]
        normalised = prepared.worker.normaliser(stored)
        for image in (stored, normalised, normalised.bfloat16().view(torch.int16)):
            rows = image.reshape(-1, image.shape[-1])
            busy = rows[rows.float().std(dim=1).argmax()]  # a row of background may be anywhere
            assert busy.numpy().tobytes() not in sent


def test_neither_the_store_nor_what_defenses_remember_leaves(played):
    session, _, folder, _, memory = played
    sent = session.frames
    secret = (folder / "secret").read_bytes()
    assert secret not in sent
    assert memory  # learned noise keeps what it has learnt
    large = [tensor for tensor in memory.values() if tensor.numel() >= 8]
    assert large
    assert all(tensor.contiguous().numpy().tobytes() not in sent for tensor in large)
    assert b"RandomizedResponse" not in sent
    assert b"epsilon" not in sent


def test_true_labels_and_the_order_of_records_do_not_leave(played):
    session, own, _, _, _ = played
    batches = [message.message for message in session.messages if isinstance(message, Smashed)]
    labels = torch.cat([batch.labels for batch in batches])
    assert not torch.equal(labels.sort().values, own.train_labels.sort().values)  # some are flipped
    orders = [np.arange(len(own.train_labels), dtype=kind).tobytes()[:32] for kind in (np.int64, np.int32)]
    assert not any(order in session.frames for order in orders)


def test_a_frame_has_no_loss(played):
    session = played[0]
    (loss,) = session.losses
    assert loss > 0
    for written in (np.float64(loss).tobytes(), repr(loss).encode()):
        assert written not in session.frames
    fields = {name for message in session.messages for name in (*vars(message), *vars(message.message))}
    assert fields == {
        *("session", "message", "compute_s", "images", "client", "round", "tier", "batch", "smashed", "labels"),
        *("packed_bytes", "packed", "labelled", "examples", "weights", "head"),
    }
