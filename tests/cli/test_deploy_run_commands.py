"""deploy serve and deploy join with wrong input: one line at once, before anybody is waited for or connected to."""

import os
import socket
import subprocess
import sys

import pytest


def keys(side: str, name: str) -> list[str]:
    return ["--ca", f"{side}/ca.pem", "--cert", f"{side}/{name}.pem", "--key", f"{side}/{name}.key"]


SERVE = ["deploy", "serve", "p/config.toml", *keys("p/server", "server")]
JOIN = ["deploy", "join", *keys("p/clients/client-0", "client"), "--store", "new"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([*SERVE, "--listen", "127.0.0.1:99999"], "--listen '127.0.0.1:99999' is no address: expected HOST:PORT"),
        ([*SERVE, "--listen", "localhost"], "--listen 'localhost' is no address: expected HOST:PORT"),
        ([*SERVE, "--listen", "127.0.0.1:0", "--out", "p"], "run folder 'p' exists: add --resume to go on with it"),
        ([*SERVE, "--listen", "127.0.0.1:0", "--resume"], "--resume needs --out RUN"),
        ([*SERVE, "--listen", "127.0.0.1:0", "--linger", "-1"], "-1.0 is not in the range"),
        ([*SERVE, "--listen", "-", "--round-deadline", "inf"], "inf is not in the range"),
        ([*SERVE, "--listen", "-", "--round-deadline", "nan"], "nan is not in the range"),
        ([*JOIN, "-", "--patience", "nan"], "nan is not in the range x>=0"),
        ([*JOIN, "127.0.0.1:99999"], "'127.0.0.1:99999' is no address: expected HOST:PORT of the server, PORT 1 to"),
        ([*JOIN, "127.0.0.1:1", "--data-dir", "no"], "--data-dir 'no' is no folder: expected that of this client's"),
    ],
)
def test_wrong_input_is_answered_in_one_line_at_once(dtfl, tmp_path, arguments, why):
    dtfl("deploy", "init", "p")
    before = sorted(tmp_path.rglob("*"))
    answer = dtfl(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert why in answer.err
    assert len(answer.err.splitlines()) == 1
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and "new" not in path.parts] == []


# In a process of its own: what gRPC says itself is settled when it is first loaded.
LISTENS = """
import sys
from pathlib import Path
from dtfl_private.cli.deploy_project import utc_now
from dtfl_private.deployed.project.credentials import read_server_credentials
from dtfl_private.deployed.sessions.transport import Listening
from dtfl_private.errors import InputError
files = [Path("p/server", name) for name in ("ca.pem", "server.pem", "server.key")]
credentials = read_server_credentials(*files, now=utc_now())
try:
    Listening(sys.argv[1], credentials, clients=1, largest=1, greet=print, turned_away=print)
except InputError as error:
    print(error, end="")
"""


def test_a_port_that_is_in_use_is_one_line_of_ours_and_none_of_grpcs(dtfl, tmp_path):
    dtfl("deploy", "init", "p")
    # Flower's package sets it in whatever process imports it, as one that runs tests.
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = dtfl(*SERVE, "--listen", address)
        done = subprocess.run(
            [sys.executable, "-c", LISTENS, address],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    line = f"--listen {address} is not possible: the address is in use, or not one of this machine"
    assert (answer.status, answer.out, answer.err) == (2, "", f"error: {line}\n")
    assert (done.stdout, done.stderr) == (line, "")
