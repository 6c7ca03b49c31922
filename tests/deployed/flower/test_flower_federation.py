"""Both transports through Flower's records, each client a process of its own: the same training as in one process."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.flower import invitations
from dtfl_private.deployed.flower.client_app import answered
from dtfl_private.deployed.flower.content import Answer, Invitation, read, written
from dtfl_private.deployed.flower.courier import Courier
from dtfl_private.deployed.flower.invitations import Invitations
from dtfl_private.deployed.flower.relays import Relays
from dtfl_private.deployed.server.serving import Serving, serve
from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.deployed.sessions.admission import TokenCredentials
from dtfl_private.deployed.sessions.session import SessionLostError
from dtfl_private.deployed.sessions.transport import connect
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.train import train
from dtfl_private.runtime.callback import Callback
from tests.deployed.federation import PATIENCE_S, SMALL
from tests.deployed.flower.grid import ForkingGrid, as_a_client
from tests.deployed.test_federation import same_weights

LOOPBACK = "127.0.0.1:0"
LARGEST = 2**21


class Heard(Callback):
    """Keeps what the server says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def made_grid(tmp_path, clients, **answering):
    nodes = {
        100 + client: {"dtfl-store": str(tmp_path / f"store-{client}"), "dtfl-chance": "seeded", "dtfl-device": "cpu"}
        for client in range(clients)
    }
    names = {100 + client: f"client-{client}" for client in range(clients)}
    return ForkingGrid(nodes=nodes, names=names, **answering)


def served(tmp_path, config, grid, transport, minimum=None, **rules):
    """Serve a run until its end; return it, and what the server has said."""
    heard = Heard()
    courier = Courier(grid, heard.note, grid.message, poll_s=0.02)
    ruled = Rules(**{"deadline_s": PATIENCE_S, "turn_s": PATIENCE_S, **rules})
    if transport == "reply":
        entrance = Relays(courier=courier, within_s=PATIENCE_S, say=heard.note)
    else:
        now = datetime.now(UTC)
        entrance = Invitations(courier=courier, listen=LOOPBACK, reached_at=LOOPBACK, say=heard.note, now=now)
    try:
        run = serve(config, Serving(entrance=entrance, rules=ruled, out=tmp_path / "run", minimum=minimum), [heard])
    finally:
        grid.close()
    return run, heard.lines


@pytest.mark.parametrize(
    ("transport", "changes"),
    [
        ("session", {"scheduler": "static:2"}),
        ("reply", {"scheduler": "static:2", "precision": "bf16"}),
        ("reply", {"scheduler": "static:3", "normalization": "client-sums"}),
    ],
)
def test_weights_are_those_of_one_process_to_the_last_bit(tmp_path, transport, changes):
    config = make_config({**SMALL, "clients": 2, "max_train_images": 64, **changes}, "test")
    run, lines = served(tmp_path, config, made_grid(tmp_path, 2), transport)
    assert run.summary["rounds"] == 2
    assert not [line for line in lines if " is out: " in line]
    train(config, out=tmp_path / "simulated")
    assert same_weights(tmp_path / "run", tmp_path / "simulated")
    state = json.loads((tmp_path / "store-0" / "state.json").read_text())
    (progress,) = state["runs"].values()
    assert progress["acknowledged"] == progress["round"] == 2  # also of the last round


def first_time(node_config, what: str) -> bool:
    """Whether a client has not done a thing before, by a mark beside its store."""
    mark = Path(node_config["dtfl-store"]).with_suffix(f".{what}")
    is_first = not mark.exists()
    mark.touch()
    return is_first


def dies_once(content, node_config):
    if first_time(node_config, "died"):
        os._exit(1)
    return as_a_client(content, node_config)


def shows_its_token_twice(content, node_config):
    if not first_time(node_config, "shown"):
        return as_a_client(content, node_config)
    invitation, _ = read(content, Invitation, largest=0)
    own = TokenCredentials(authority_pem=invitation.authority.encode(), token=invitation.token)
    first, close_first = connect(invitation.address, own, LARGEST)
    second, close_second = connect(invitation.address, own, LARGEST)
    try:
        for session in (first, second):  # which of them comes first is for the network to say
            try:
                session.receive(5.0)
            except SessionLostError:
                return written(Answer(outcome="lost", why="one of two was turned away"))
            except TimeoutError:
                continue
        return written(Answer(outcome="lost", why="both were let in"))
    finally:
        close_first()
        close_second()


def test_a_client_that_died_is_invited_again_and_a_used_token_opens_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(invitations, "AGAIN_S", 0.05)
    config = make_config({**SMALL, "clients": 2, "max_train_images": 64, "scheduler": "static:2"}, "test")
    grid = made_grid(tmp_path, 2, answering={100: dies_once, 101: shows_its_token_twice})
    _, lines = served(tmp_path, config, grid, "session")
    said = "\n".join(lines)
    assert "client 0 (node 100): lost: Flower says (8): the process has crashed" in said
    assert "client 1 (node 101): lost: one of two was turned away" in said
    assert "its token is none of this run, or was used or replaced" in said
    assert json.loads((tmp_path / "run" / "sessions.json").read_text())["turned_away"] == 1
    tokens = [read(content, Invitation, largest=0)[0].token for _, content in grid.messages]
    assert len(set(tokens)) == len(tokens) == 4
    assert not [token for token in tokens if token in said]
    train(config, out=tmp_path / "simulated")
    assert same_weights(tmp_path / "run", tmp_path / "simulated")


def sends_junk(content, node_config):
    said, frames = answered(content, node_config, lambda _: None)
    return written(said, [*frames[:2], b"GET / HTTP/1.1", *frames[3:]] if len(frames) > 3 else frames)


@pytest.mark.parametrize("transport", ["session", "reply"])
def test_a_client_refuses_what_it_has_not_agreed_to_and_the_run_goes_on_without_it(tmp_path, transport):
    with ClientStore(tmp_path / "store-0") as store:
        store.agree('method = "dtfl"\n')
    config = make_config({**SMALL, "clients": 2, "max_train_images": 64, "scheduler": "static:2", "rounds": 1}, "test")
    run, lines = served(tmp_path, config, made_grid(tmp_path, 2), transport, minimum=1)
    assert run.records[0]["participants"] == [1]
    said = "\n".join(lines)
    assert "--accept-config" in said
    assert "refused: " in said


def test_junk_in_a_reply_is_refused_by_name_and_the_run_goes_on(tmp_path):
    config = make_config({**SMALL, "clients": 2, "max_train_images": 64, "scheduler": "static:2", "rounds": 2}, "test")
    run, lines = served(tmp_path, config, made_grid(tmp_path, 2, answering={101: sends_junk}), "reply")
    assert [record["dropped"] for record in run.records] == [[1], [1]]
    said = "\n".join(lines)
    for number in (1, 2):
        assert f"round {number}: client 1 is out: magic b'GET ': not a frame of dtfl-private" in said
