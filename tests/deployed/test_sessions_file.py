"""sessions.json: what a server writes is read back, and anything else is refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from dtfl_private.deployed.sessions_file import ClientSession, Sessions, read_sessions, write_sessions
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.run_folder.folder import RunFolder

THEN = datetime(2026, 5, 4, 12, tzinfo=UTC)
HERE = ClientSession(
    client=1,
    connected=True,
    since=THEN,
    sessions=2,
    address="192.0.2.9:5000",
    expires=THEN + timedelta(days=365),
    images=600,
    tier=2,
    round=5,
    round_s=1.5,
    compute_s=1.0,
    down_mbit_s=100.0,
    up_mbit_s=20.0,
    refused_frames=1,
    last_error="frame of 3 MB refused",
)
NEVER = ClientSession(client=2, connected=False)
SESSIONS = Sessions(
    listening="0.0.0.0:8443", started=THEN, updated=THEN, phase="training", round=5, clients=[HERE, NEVER]
)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(path=tmp_path)


def test_what_is_written_is_read_back(folder):
    write_sessions(folder, SESSIONS)
    write_sessions(folder, SESSIONS)  # in the place of what is there
    assert read_sessions(folder) == SESSIONS
    assert [path.name for path in folder.path.iterdir()] == ["sessions.json"]


def test_the_file_says_what_every_value_is(folder):
    write_sessions(folder, SESSIONS)
    document = json.loads(folder.sessions.read_text())
    assert document["schema_version"] == 1
    assert document["clients"][1] == {
        "client": 2,
        "connected": False,
        "since": None,
        "sessions": 0,
        "address": "",
        "expires": None,
        "images": None,
        "tier": None,
        "round": 0,
        "round_s": None,
        "compute_s": None,
        "down_mbit_s": None,
        "up_mbit_s": None,
        "refused_frames": 0,
        "last_error": "",
    }


def test_a_run_without_one_is_no_deployed_run(folder):
    with pytest.raises(InputError, match=r"has no sessions\.json: expected the run folder of a server"):
        read_sessions(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"phase": "sleeping"},
        {"round": -1},
        {"updated": "2026-05-04T12:00:00"},  # of which zone?
        {"updated": None},
        {"more": 1},
        {"clients": [{"client": 1, "connected": True, "tier": -1}]},
        {"clients": [{"client": 1, "connected": "perhaps"}]},
        {"clients": [{"client": 1, "connected": True, "round_s": 1e300}]},
        {"clients": [{"client": 2, "connected": True}, {"client": 1, "connected": True}]},
        {"clients": [{"client": 1, "connected": True}, {"client": 1, "connected": True}]},
        {"listening": "x" * 400},
    ],
)
def test_damage_is_named(folder, change):
    write_sessions(folder, SESSIONS)
    folder.sessions.write_text(json.dumps({**json.loads(folder.sessions.read_text()), **change}))
    with pytest.raises(RunError, match=r"sessions\.json is damaged"):
        read_sessions(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"round": NaN}'])
def test_what_is_no_json_of_this_form_is_refused(folder, data):
    folder.sessions.write_bytes(data)
    with pytest.raises(RunError, match=r"sessions\.json (is damaged|cannot be read)"):
        read_sessions(folder)


def test_reasons_of_the_other_side_are_one_line_that_may_be_shown():
    session = ClientSession(client=0, connected=False, last_error="\x1b[31mred\n" + "x" * 9000)
    assert session.last_error.isprintable()
    assert len(session.last_error) < 350


def test_what_the_server_may_not_write_is_refused_before_it_is_written():
    for wrong in ({"round_s": float("nan")}, {"round_s": -1.0}, {"images": -1}, {"since": datetime(2026, 1, 1)}):
        with pytest.raises(ValidationError):
            ClientSession(client=0, connected=True, **wrong)


def test_who_is_connected_is_counted():
    assert [session.client for session in SESSIONS.connected] == [1]
