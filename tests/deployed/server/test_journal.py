"""What the server writes down of its clients: for people only, so that it never ends a run."""

from datetime import UTC, datetime

import pytest

from dtfl_private.deployed.server import journal as journal_module
from dtfl_private.deployed.server.journal import Journal
from dtfl_private.deployed.server.played_round import Played
from dtfl_private.deployed.server.registry import Link, Registered, Registry
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.sessions_file import read_sessions
from dtfl_private.experiments.run_folder.folder import RunFolder


@pytest.fixture
def kept(tmp_path):
    """Return a registry with client 1 connected, its journal, the lines that it said, and its folder."""
    registry, lines, folder = Registry(2), [], RunFolder(path=tmp_path)
    made = Journal(registry, lines.append)
    made.note(listening="here:1")
    made.opened(folder)
    session = Session("client", 1000)
    registry.admit(1, session, Registered(images=12))
    registry.measured(1, session, Link(up_bytes_s=1.25e6, down_bytes_s=2.5e6, latency_s=0.1))
    made.greeted(1, "ipv4:1.2.3.4:5", None)
    return registry, made, lines, folder


def test_who_is_there_and_what_was_seen_of_them(kept):
    registry, made, lines, folder = kept
    made.played(3, {1: Played(client=1, tier=2, round_s=1.5, compute_s=0.5, refused=("smashed: NaN",))})
    absent, present = read_sessions(folder).clients
    assert (absent.connected, present.connected) == (False, True)
    assert (present.images, present.address, present.sessions) == (12, "ipv4:1.2.3.4:5", 1)
    assert (present.up_mbit_s, present.down_mbit_s) == (10.0, 20.0)
    assert (present.tier, present.round, present.refused_frames) == (2, 3, 1)
    assert present.last_error == "round 3: smashed: NaN"
    assert lines == ["client 1 is connected: 12 training images", "round 3: client 1 is out: smashed: NaN"]
    registry.session(1).lose("gone")
    made.phase("training", 4)
    assert not read_sessions(folder).clients[1].connected


def test_when_a_clients_certificate_expires_is_kept_for_whoever_watches(kept):
    registry, made, _, folder = kept
    session = Session("client", 1000)
    session.peer_expires = datetime(2027, 1, 2, tzinfo=UTC)
    registry.admit(0, session, Registered(images=3))
    made.greeted(0, "peer", None)
    assert read_sessions(folder).clients[0].expires == session.peer_expires


def test_a_client_that_only_looks_leaves_no_error(kept):
    _, made, lines, folder = kept
    made.looked(0)
    assert read_sessions(folder).clients[0].last_error == ""
    assert lines[-1] == "client 0 has read the configuration and left; it takes no part yet"


def test_who_was_turned_away(kept):
    _, made, lines, folder = kept
    made.greeted(0, "peer", "another version")
    made.greeted(7, "peer", "client 7 is none of this run")
    sessions = read_sessions(folder)
    assert (sessions.clients[0].last_error, sessions.clients[0].sessions) == ("another version", 0)
    assert (sessions.turned_away, sessions.last_turned_away) == (1, "client 7 is none of this run")
    assert lines[1:] == [
        "client 0 was turned away: another version",
        "a connection was turned away: client 7 is none of this run",
    ]


def test_a_full_disk_is_said_and_ends_nothing(kept, monkeypatch):
    _, made, lines, _ = kept

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module, "write_sessions", full)
    made.gave_up(1, "it could not be measured: no answer")
    assert lines[-1].endswith("sessions.json cannot be written: No space left on device")
