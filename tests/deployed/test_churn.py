"""Clients that are killed, freeze, vanish, come late and come back, and a server that is killed: each as promised."""

import json
import os
import signal
import subprocess

import pytest

from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.deployed.truth import add_truth
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.provenance import recorded_images
from tests.deployed.federation import PATIENCE_S, Hooks, Peer, federation
from tests.deployed.proxy import Cable

# Far more rounds than any of these tests waits for: it ends when it has seen what it waits for.
ENDLESS = 1000


def completed(server: Peer, client: int) -> dict:
    """Return the next round of which a client's update is in the average."""
    while True:
        record = server.wait_for("round")
        if client in record["participants"] and client not in record["dropped"]:
            return record


def said(peer: Peer, kind: str, text: str) -> bool:
    """Whether a peer has said something with a text in it."""
    return any(heard == kind and text in value for heard, value in peer.heard if isinstance(value, str))


def test_a_run_that_clients_came_late_to_can_be_attacked(tmp_path):
    """How many images they have, unlike many, was not known at its start."""
    recorded = {"record_rounds": ["last"], "record_images": 16, "partition": "dirichlet:0.5"}
    with federation(tmp_path, scheduler="static:2", rounds=2, **recorded) as made:
        server = made.serve(minimum=2)
        first = made.join(0, hooks=Hooks(pauses=((1, 1),)), keep_truth=tmp_path / "truth-0")
        made.join(1)
        first.wait_for("paused")
        made.join(2)
        server.wait_for("note", "client 2 is connected")
        first.go_on()
        server.ended()
        assert first.ended() == "all 2 rounds are done"
    assert add_truth(RunFolder(path=made.run), tmp_path / "truth-0", 0) == [2]
    opened = open_run(made.run)
    assert [len(part) for part in opened.prepared.worker.parts] == recorded_images(opened.folder)
    assert len(set(recorded_images(opened.folder))) == 3


def test_clients_come_late_are_killed_in_mid_round_and_come_back(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=4) as made:
        server = made.serve(minimum=2)
        first = made.join(0, hooks=Hooks(pauses=((1, 1), (3, 1))))
        second = made.join(1, hooks=Hooks(pauses=((2, 1),)))

        first.wait_for("paused")  # in round 1, which began without client 2
        late = made.join(2, without=8)
        server.wait_for("note", "client 2 is connected: 24 training images")
        first.go_on()
        assert server.wait_for("round")["participants"] == [0, 1]

        second.wait_for("paused")  # in the middle of round 2
        second.kill()
        record = server.wait_for("round")
        assert (record["participants"], record["dropped"]) == ([0, 1, 2], [1])

        first.wait_for("paused")  # in round 3
        assert "client 1 has 31 training images, and had 32" in made.join(1, without=1).ended()
        again = made.join(1)
        server.wait_for("note", "client 1 is connected")
        first.go_on()
        assert server.wait_for("round")["participants"] == [0, 2]
        assert server.wait_for("round")["participants"] == [0, 1, 2]
        server.ended()
        assert [client.ended() for client in (first, again, late)] == ["all 4 rounds are done"] * 3
        assert said(server, "note", "round 2: client 1 is out: the session ended")


def test_a_frozen_client_is_left_behind_at_the_deadline_and_comes_back_with_nothing_of_the_old_round(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=ENDLESS) as made:
        server = made.serve(deadline_s=3.0)
        made.join(0)
        frozen = made.join(1, hooks=Hooks(pauses=((1, 1),)))
        made.join(2)
        frozen.wait_for("paused")
        frozen.signal(signal.SIGSTOP)
        record = server.wait_for("round")
        assert 1 in record["dropped"]
        assert server.wait_for("round")["participants"] != [0, 1, 2]  # nobody waits for it a second time
        frozen.go_on()
        frozen.signal(signal.SIGCONT)
        frozen.wait_for("say", "round 1: not in the average: no update 2 s after the deadline")
        frozen.wait_for("say", "not connected")
        completed(server, 1)
        assert not said(server, "note", "of round 1, this is round")


def out_by_keepalive(server: Peer, vanishing: Peer) -> None:
    """Assert that a client whose cable is dead is out for the round, by keepalive alone."""
    server.wait_for("round")
    others = server.wait_for("round")
    assert others["round"] == 2
    assert 1 in others["dropped"]
    assert said(server, "note", "round 2: client 1 is out: the session ended") or server.wait_for(
        "note", "round 2: client 1 is out: the session ended"
    )
    assert vanishing.process.is_alive()


def test_a_connection_that_goes_dead_without_closing_is_ended_by_keepalive_and_made_again(tmp_path):
    """The deadline is far away: it is not by that."""
    with federation(tmp_path, scheduler="static:2", rounds=ENDLESS) as made:
        server = made.serve(keepalive_s=2.0)
        made.join(0)
        made.join(2)
        with Cable(made.address) as cable:
            vanishing = made.join(1, address=cable.address, keepalive_s=2.0, hooks=Hooks(pauses=((2, 1),)))
            vanishing.wait_for("paused")
            cable.die()
            out_by_keepalive(server, vanishing)
            vanishing.go_on()
            vanishing.wait_for("say", "not connected")
            cable.revive()
            completed(server, 1)
            made.close()


@pytest.fixture
def namespace():
    """Name a network namespace with a cable to this machine; its address here, and the cable."""
    name = f"dtfl-{os.getpid()}"
    number = os.getpid() % 2**14
    here, there = (f"10.{200 + number // 2**13}.{number // 32 % 256}.{number % 32 * 8 + end}" for end in (1, 2))

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        ip("link", "add", f"{name}-a", "type", "veth", "peer", "name", "cable", "netns", name)
        ip("address", "add", f"{here}/30", "dev", f"{name}-a")
        ip("link", "set", f"{name}-a", "up")
        ip("-n", name, "address", "add", f"{there}/30", "dev", "cable")
        ip("-n", name, "link", "set", "cable", "up")
        yield name, here, lambda state: ip("link", "set", f"{name}-a", state)
    finally:
        ip("netns", "delete", name)


def test_a_machine_that_vanishes_from_the_network_is_out_and_the_run_goes_on(tmp_path, namespace):
    name, here, cable = namespace
    with federation(tmp_path, names=[here], scheduler="static:2", rounds=ENDLESS) as made:
        made.address = f"{here}:0"
        server = made.serve(keepalive_s=2.0)
        made.join(0)
        made.join(2)
        vanishing = made.join(1, keepalive_s=2.0, hooks=Hooks(pauses=((2, 1),), namespace=name))
        vanishing.wait_for("paused")
        cable("down")
        out_by_keepalive(server, vanishing)
        vanishing.go_on()
        vanishing.wait_for("say", "not connected")
        cable("up")
        completed(server, 1)


def test_a_client_that_is_away_when_the_run_ends_is_told_so_when_it_comes_back(tmp_path):
    with federation(tmp_path, scheduler="static:2") as made:
        server = made.serve(linger_s=PATIENCE_S)
        clients = [made.join(0), made.join(1), made.join(2, hooks=Hooks(pauses=((2, 1),)))]
        clients[2].wait_for("paused")
        clients[2].kill()
        server.wait_for("note", "the run has ended; staying")
        assert made.join(2).ended() == "all 2 rounds are done"
        server.ended()
        assert [client.ended() for client in clients[:2]] == ["all 2 rounds are done"] * 2
        assert json.loads((made.run / "sessions.json").read_text())["message"] == "all 2 rounds are done"


def test_a_server_that_is_resumed_refuses_another_run_at_once_and_goes_on_with_the_survivors(tmp_path):
    """Clients have unlike many images, and one came late: how many there are in all is not what it was."""
    with federation(tmp_path, scheduler="static:2") as made:
        server = made.serve(minimum=2)
        first = made.join(0, hooks=Hooks(pauses=((1, 1),)))
        made.join(1)
        first.wait_for("paused")
        lost = made.join(2, without=8, hooks=Hooks(pauses=((2, 1),)))
        server.wait_for("note", "client 2 is connected: 24 training images")
        first.go_on()
        lost.wait_for("paused")
        server.kill()
        lost.kill()
        agreed, made.config = made.config, made.config.model_copy(update={"lr": 0.5})
        with pytest.raises(AssertionError, match=r"another configuration \(lr: 0\.001 -> 0\.5\)"):
            made.serve(resume=True)  # before it listens: the clients hear nothing of it
        made.config = agreed
        again = made.serve(resume=True, deadline_s=3.0)
        again.wait_for("note", "going on with")
        record = again.wait_for("round")
        assert record["round"] == 2
        assert set(record["participants"]) <= {0, 1}
        again.ended()
        assert json.loads((made.run / "summary.json").read_text())["finished"]
