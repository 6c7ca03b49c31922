"""deploy init, add-client, renew and status, as they are typed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from test_start import HEAVY, heavy_after, imported

from dtfl_private.cli import deploy as commands
from dtfl_private.deployed import deployable
from dtfl_private.deployed.project import authority, init
from dtfl_private.deployed.sessions_file import ClientSession, Sessions, write_sessions
from dtfl_private.experiments.run_folder.folder import RunFolder, locked


def test_a_project_is_written_and_what_is_next_is_said(dtfl, tmp_path):
    answer = dtfl("deploy", "init", "hospitals", "--server-name", "fl.example.org", "--port", 9000)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines()[:2] == ["written: hospitals", "clients look for the server at fl.example.org:9000"]
    assert len(list((tmp_path / "hospitals" / "clients").iterdir())) == 3


def test_a_project_of_a_configuration(dtfl, tmp_path):
    (tmp_path / "base.toml").write_text("rounds = 5\nclients = 2")
    (tmp_path / "a.toml").write_text('extends = "base.toml"\nlr = 0.5')
    answer = dtfl("deploy", "init", "one", "--config", "a.toml", "--json")
    assert (answer.status, "localhost:8443: this machine alone" in answer.err) == (0, True)
    assert json.loads(answer.out) == {
        "folder": "one",
        "server": "localhost:8443",
        "names": ["localhost", "127.0.0.1", "::1", "server"],
        "clients": ["one/clients/client-0", "one/clients/client-1"],
    }
    shown = json.loads(dtfl("config", "show", "one/config.toml", "--changed", "--json").out)
    assert {key: value["value"] for key, value in shown.items() if key != "workers"} == {
        "clients": 2,
        "rounds": 5,
        "lr": 0.5,
    }
    dtfl("deploy", "init", "two", "--config", "a.toml", "--clients", 4)
    assert len(list((tmp_path / "two" / "clients").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["init", "mine", "--clients", "0"], "0 is not in the range"),
        (["init", "mine", "--days", "9999"], "9999 is not in the range"),
        (["init", "mine", "--config", "no.toml"], "configuration 'no.toml' does not exist"),
        (["init", "mine", "--config", "bad.toml"], "roundz"),
        (["init", "mine", "--config", "code.toml"], "'mine:Noise' is code that the configuration names"),
        (
            ["init", "mine", "--config", "fedavg.toml"],
            "method fedavg cannot be deployed yet: choose one of dtfl, dtfl-full",
        ),
        (["init", "mine", "--config", "fedavg.toml", "--flower"], "method fedavg cannot be deployed yet"),
        (["init", "mine", "--server-name", "a b"], "server name 'a b' is refused"),
        (["init", "there"], "project 'there' exists: choose another folder"),
        (["init", ""], "'' is refused as the name of an output"),
        (["init", ".."], "project '..' cannot be made: it needs a name of its own"),
        (["init", "/proc/mine"], "cannot be made"),
        (["add-client", "there"], "'there' is no project of `deploy init`"),
        (["renew", "there", "client-0"], "'there' is no project of `deploy init`"),
        (["status", "there"], "'there' is not a run folder: it has no config.toml"),
        (
            ["status", "mine"],
            "there is no run folder 'mine': a server makes it once the clients to begin with have come",
        ),
        (["statsu", "there"], "unknown command of deploy 'statsu': did you mean 'status'?"),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_nothing_is_written(dtfl, tmp_path, arguments, why):
    (tmp_path / "there").mkdir()
    (tmp_path / "bad.toml").write_text("roundz = 3")
    (tmp_path / "fedavg.toml").write_text('method = "fedavg"')
    (tmp_path / "code.toml").write_text('defense = ["mine:Noise"]')
    before = sorted(tmp_path.rglob("*"))
    answer = dtfl("deploy", *arguments)
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert why in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_extra_one_line_says_which_to_install(dtfl, tmp_path, monkeypatch):
    monkeypatch.setattr("dtfl_private.deployed.extra.find_spec", lambda _: None)
    for arguments in (["init", "mine"], ["add-client", "mine"], ["renew", "mine", "server"]):
        answer = dtfl("deploy", *arguments)
        assert (answer.status, answer.out) == (2, "")
        assert 'pip install "dtfl-private[deploy]"' in answer.err
    assert list(tmp_path.iterdir()) == []


def test_clients_are_added_and_renewed(dtfl):
    dtfl("deploy", "init", "mine", "--clients", 1)
    answer = dtfl("deploy", "add-client", "mine")
    assert answer.out.splitlines()[0] == "written: mine/clients/client-1"
    assert "takes part in a run only once it has clients = 2" in " ".join(answer.out.split())
    assert json.loads(dtfl("deploy", "add-client", "mine", "--json").out)["client"] == 2
    renewed = json.loads(dtfl("deploy", "renew", "mine", "client-1", "--days", 9, "--json").out)
    assert renewed["file"] == "mine/clients/client-1/client.pem"
    left = datetime.fromisoformat(renewed["expires"]) - datetime.now(UTC)
    assert timedelta(days=8) < left < timedelta(days=9)


def test_the_help_states_the_limits_that_hold():
    assert (commands.DEFAULT_PORT, commands.DEFAULT_DAYS) == (init.DEFAULT_PORT, init.DEFAULT_DAYS)
    assert (commands.MOST_DAYS, commands.MOST_CLIENTS) == (authority.AUTHORITY_DAYS, deployable.MOST_CLIENTS)


def test_help_and_status_load_none_of_the_large_packages(tmp_path, write_run):
    assert heavy_after("deploy --help", "deploy init --help") == {"deploy --help": set(), "deploy init --help": set()}
    run = deployed(write_run(tmp_path / "run", [0.5]))
    found = imported("deploy", "status", str(run.path))
    assert found & HEAVY <= {"pydantic", "numpy", "rich"}
    assert found & {"grpc", "cryptography"} == set()


def deployed(path, *, phase="training", sessions=None, **fields) -> RunFolder:
    """Write the sessions of three clients into a run folder: one here, one gone, one never here."""
    now = datetime.now(UTC)
    here = {"expires": now + timedelta(days=300), "since": now - timedelta(hours=2), "sessions": 1, "tier": 2}
    clients = sessions or [
        ClientSession(
            client=0,
            connected=True,
            round=2,
            round_s=1.234,
            compute_s=1.0,
            down_mbit_s=94.0,
            **{"up_mbit_s": 11.5, **here},
        ),
        ClientSession(
            **{"client": 1, "connected": False, "round": 1, "refused_frames": 3, **here},
            last_error="batch 4: smashed data are not finite [red]",
        ),
        ClientSession(client=2, connected=False),
    ]
    folder = RunFolder(path=path)
    times = {"started": now - timedelta(hours=3), "updated": now - timedelta(seconds=5)}
    write_sessions(folder, Sessions(listening="0.0.0.0:8443", phase=phase, round=2, clients=clients, **times, **fields))
    return folder


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_run_that_goes_on_is_shown(dtfl, tmp_path, write_run):
    folder = deployed(write_run(tmp_path / "run", [0.5, 0.25], rounds=9, target_accuracy=0.9))
    with locked(folder):  # as its server does
        answer = dtfl("deploy", "status", "run")
    assert (answer.status, answer.err) == (0, "")
    first, second, *rest = answer.out.splitlines()
    assert first == "run: 2 of 9 rounds, test accuracy 0.250 (best 0.500, round 1), target 0.9"
    assert second.startswith("the server on 0.0.0.0:8443 trains, round 2; 1 of 3 clients connected; written ")
    rows = [squeezed(line) for line in rest]
    assert "0 here 2 h 2 2 1.23 1 94, 11.5 0" in rows
    assert "1 gone 2 h 2 1 - - -, - 3" in rows
    assert "2 never here - - - - -, - 0" in rows
    assert "1 batch 4: smashed data are not finite [red]" in rows


def test_nobody_is_connected_to_a_server_that_is_gone(dtfl, tmp_path, write_run):
    deployed(write_run(tmp_path / "run", [], rounds=2))
    answer = dtfl("deploy", "status", "run")
    assert "no server is running, its last word was 'training' in round 2" in answer.out
    assert "0 gone 2 2" in squeezed(answer.out)
    found = json.loads(dtfl("deploy", "status", "run", "--json").out)
    assert (found["server_running"], [client["connected"] for client in found["clients"]]) == (False, [False] * 3)
    assert (found["accuracy"], found["finished_rounds"]) == (None, 0)


def test_a_run_that_has_ended_says_why(dtfl, tmp_path, write_run):
    deployed(write_run(tmp_path / "run", [0.5]), phase="ended", message="all rounds are done")
    assert "the server has ended (all rounds are done); written" in dtfl("deploy", "status", "run").out


def test_the_same_for_programs(dtfl, tmp_path, write_run):
    folder = deployed(write_run(tmp_path / "run", [0.5, 0.25], rounds=9))
    with locked(folder):
        found = json.loads(dtfl("deploy", "status", "run", "--json").out)
    assert {
        key: found[key] for key in ("server_running", "rounds", "finished_rounds", "accuracy", "best_accuracy")
    } == {
        "server_running": True,
        "rounds": 9,
        "finished_rounds": 2,
        "accuracy": 0.25,
        "best_accuracy": 0.5,
    }
    assert (found["best_round"], found["phase"], found["round"]) == (1, "training", 2)
    assert [client["connected"] for client in found["clients"]] == [True, False, False]
    assert found["clients"][1]["last_error"] == "batch 4: smashed data are not finite [red]"


def test_certificates_that_expire_soon_and_strangers_are_warned_of(dtfl, tmp_path, write_run):
    now = datetime.now(UTC)
    sessions = [
        ClientSession(client=0, connected=False, expires=now + timedelta(days=29)),
        ClientSession(client=1, connected=False, expires=now - timedelta(days=1)),
        ClientSession(client=2, connected=False, expires=now + timedelta(days=31)),
    ]
    path = write_run(tmp_path / "run", [], rounds=2)
    deployed(path, sessions=sessions, turned_away=2, last_turned_away="client-9 is none of 3 clients")
    answer = dtfl("deploy", "status", "run", "--quiet")
    warnings = answer.err.splitlines()
    assert [line.split(" on ")[0] for line in warnings[:2]] == [
        "the certificate of client 0 expires",
        "the certificate of client 1 has expired",
    ]
    assert warnings[2:] == ["2 connections turned away, last: client-9 is none of 3 clients"]


def test_a_status_fits_a_terminal_of_80_columns(dtfl, tmp_path, write_run, monkeypatch):
    folder = deployed(write_run(tmp_path / "run", [0.5]))
    monkeypatch.setenv("COLUMNS", "80")
    with locked(folder):
        answer = dtfl("deploy", "status", "run")
    table = answer.out.splitlines()[2:]
    assert max(map(len, table)) <= 80
    assert sum("client" in line for line in table) == 2  # one table of clients, one of their errors


def test_damage_is_one_line(dtfl, tmp_path, write_run):
    folder = deployed(write_run(tmp_path / "run", [], rounds=2))
    folder.sessions.write_text("{}")
    answer = dtfl("deploy", "status", "run")
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (1, "", 1)
    folder.sessions.unlink()
    answer = dtfl("deploy", "status", "run")
    assert (answer.status, "has no sessions.json: expected the run folder of a server" in answer.err) == (2, True)
