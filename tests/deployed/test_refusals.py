"""Who may not take part, or sends what may not be sent: refused by name, and the run goes on."""

import contextlib
import dataclasses
import math
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
import torch

from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.project.credentials import read_client_credentials
from dtfl_private.deployed.sessions.session import Session, SessionLostError
from dtfl_private.deployed.sessions.transport import connect
from dtfl_private.deployed.wire.frames import encode
from dtfl_private.deployed.wire.kinds import Closed, Echo, Hello, Measure, OpenRound, Register, Smashed, Update, Welcome
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import SmashedBatch, WeightUpdate
from tests.deployed.faults import require_average
from tests.deployed.federation import PATIENCE_S, Federation, Hooks, federation

LARGEST = 2**24


def credentials(made: Federation, client: int):
    side = made.project / "clients" / f"client-{client}"
    return read_client_credentials(side / "ca.pem", side / "client.pem", side / "client.key", now=datetime.now(UTC))


@contextlib.contextmanager
def entered(made: Federation, client: int, images: int):
    """Yield a session of somebody who speaks the protocol, but is no client of this package."""
    session, close = connect(made.address, credentials(made, client), LARGEST)
    try:
        session.send(Hello(version=version("dtfl-private")))
        welcome = session.receive(PATIENCE_S)
        assert isinstance(welcome, Welcome)
        session.number = welcome.session
        session.send(Register(session=session.number, images=images))
        yield session
    finally:
        close()


def test_another_version_other_agreements_another_process_with_the_same_certificate_and_a_certificate_that_has_expired(
    tmp_path,
):
    with federation(tmp_path) as made:
        server = made.serve()
        told = made.join(1, hooks=Hooks(version="0.0.1")).ended()
        assert "dtfl-private '0.0.1' at the client" in told
        assert "install the same version" in told

        with ClientStore(tmp_path / "store-1") as store:
            store.agree('method = "dtfl"\n')
        assert "InputError" in (refused := made.join(1).ended())
        assert "--accept-config" in refused

        older = made.join(0)
        server.wait_for("note", "client 0 is connected")
        newer = made.join(0, store=tmp_path / "another")
        assert "another process has connected with the same certificate" in older.ended()
        server.wait_for("note", "client 0 is connected")
        assert newer.process.is_alive()

        joining = Joining(
            address=made.address,
            credentials=dataclasses.replace(credentials(made, 2), expires=datetime.now(UTC) - timedelta(days=1)),
            images=lambda *_: pytest.fail("it is never asked for images"),
            store=tmp_path / "store-2",
        )
        with pytest.raises(InputError, match=r"certificate of client 2 has expired on .*: renew it with .* client-2"):
            join(joining, print)


def smashed(session: Session, opened: OpenRound, batch: int, tensor: torch.Tensor) -> bytes:
    download = opened.message
    labels = torch.zeros(len(tensor), dtype=torch.int64)
    message = SmashedBatch(
        client=2, round=download.round, tier=download.tier, batch=batch, smashed=tensor, labels=labels
    )
    return encode(Smashed(session=session.number, message=message))


def hostile_frames(session: Session, opened: OpenRound) -> tuple[list[bytes], str]:
    """Return what is sent in a round, and what the server is to say of it."""
    good, download = torch.ones(16, 16, 16, 16), opened.message

    def update(factor: float) -> bytes:
        weights = {name: one * factor if one.is_floating_point() else one for name, one in download.weights.items()}
        message = WeightUpdate(
            client=2, round=download.round, tier=download.tier, examples=16, weights=weights, head=download.head
        )
        return encode(Update(session=session.number, message=message, compute_s=0.0, images=16))

    return {
        1: ([b"GET / HTTP/1.1\r\n\r\n"], "not a frame of dtfl-private"),
        2: ([smashed(session, opened, 0, good * torch.nan)], "activations are not finite"),
        3: ([smashed(session, opened, 0, good[:, :, :8])], "activations of shape"),
        4: ([smashed(session, opened, batch, good) for batch in range(3)], "more than the 2 batches of the round"),
        5: ([smashed(session, opened, 0, good), update(math.inf)], "update: weights: "),
        # Each number is finite, but not what the network makes of them.
        6: ([smashed(session, opened, 0, good), update(1e30)], "the loss of the averaged network is not finite"),
        7: ([bytes(LARGEST)], "a frame of more than"),
    }[download.round]


def test_a_hostile_client_is_refused_by_name_in_each_round_and_the_average_is_that_of_the_others(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=7) as made:
        server = made.serve()
        made.join(0, hooks=Hooks(updates=tmp_path / "updates"))
        made.join(1, hooks=Hooks(updates=tmp_path / "updates"))
        with entered(made, 2, images=32) as session:
            for number in range(1, 8):
                while not isinstance(message := session.receive(PATIENCE_S), OpenRound):
                    if isinstance(message, Measure):
                        session.send(
                            Echo(session=session.number, number=message.number, payload=bytes(message.reply_bytes))
                        )
                    elif isinstance(message, Closed):
                        assert not message.accepted
                frames, why = hostile_frames(session, message)
                for frame in frames:
                    session.outgoing.put(frame)
                record = server.wait_for("round")
                assert (record["round"], record["dropped"]) == (number, [2])
                said = server.wait_for("note", f"round {number}: client 2 is out: ")
                assert why in said
                require_average(tmp_path, number, [0, 1])
            with pytest.raises(SessionLostError):  # after the frame that was too large
                session.receive(PATIENCE_S)
        server.ended()


def test_who_spoils_the_network_that_all_clients_train_is_refused_and_the_others_go_on(tmp_path):
    with federation(tmp_path, method="dtfl-shared", scheduler="static:2", rounds=1) as made:
        server = made.serve()
        made.join(0)
        made.join(1)
        with entered(made, 2, images=32) as session:
            while not isinstance(message := session.receive(PATIENCE_S), OpenRound):
                if isinstance(message, Measure):
                    session.send(
                        Echo(session=session.number, number=message.number, payload=bytes(message.reply_bytes))
                    )
            spoilt = torch.full((16, 16, 16, 16), 3e38)
            session.outgoing.put(smashed(session, message, 0, spoilt))
            record = server.wait_for("round")
        assert record["dropped"] == [2]
        assert math.isfinite(record["server_loss"])
        assert "with this batch the server's network is not finite" in server.wait_for(
            "note", "round 1: client 2 is out"
        )
        server.ended()
