"""The written project in Flower's own processes: SuperLink, SuperNodes with registered keys, TLS, `flwr run`."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dtfl_private.cli.deploy_project import utc_now
from dtfl_private.deployed.project import flower_pages
from dtfl_private.deployed.project.flower_init import make_flower_project
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.train import train
from tests.deployed.federation import PATIENCE_S, SMALL
from tests.deployed.test_federation import same_weights

CLIENTS = 2
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def started(command: list[str], folder: Path, home: Path):
    """Run a process of Flower's with what it starts, and end all of that with the block."""
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(home), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60.0)
        finally:  # also what it has left behind: the group is its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60.0)


def environment(home: Path) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    search = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([programs, os.environ["PATH"]])
    return {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": path, "PYTHONPATH": search}


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def await_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a process listens."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        else:
            return
    raise AssertionError(f"the process of port {port} has ended with {process.returncode}")


def with_options(command: list[str], **options: str) -> list[str]:
    """Return a command of the instructions, with other values of options that it has."""
    changed = list(command)
    for option, value in options.items():
        changed[changed.index(f"--{option.replace('_', '-')}") + 1] = value
    return changed


def register(project: Path, monkeypatch) -> None:
    """Register the clients' keys, as `flwr supernode register` does."""
    from flwr.cli.app import app
    from typer.main import get_command

    for name, value in {**QUIET, "FLWR_HOME": str(project / "flower")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project)
    for client in range(CLIENTS):
        answer = CliRunner().invoke(get_command(app), flower_pages.register_command(client)[1:])
        assert "registered successfully" in answer.output, answer.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Flower's own command line uses
def test_flwr_run_of_the_written_project_trains_the_weights_of_one_process(tmp_path, monkeypatch):
    config = make_config({**SMALL, "clients": CLIENTS, "max_train_images": 64, "scheduler": "static:2"}, "test")
    made = make_flower_project(tmp_path / "project", config, names=["127.0.0.1"], now=utc_now())
    project = made.folder.path
    superlink_port, *ports = free_ports(1 + CLIENTS)
    connection = project / "flower" / "config.toml"
    connection.write_text(connection.read_text().replace(":8000", f":{superlink_port}"))
    here = Path.cwd()
    with contextlib.ExitStack() as running:
        command = with_options(flower_pages.superlink_command(), host="127.0.0.1", port=str(superlink_port))
        await_listening(superlink_port, running.enter_context(started(command, project, project / "flower")))
        register(project, monkeypatch)
        monkeypatch.chdir(here)
        for client, port in enumerate(ports):
            folder = made.folder.client(client).path
            node = with_options(
                flower_pages.supernode_command(made.settings),
                superlink=f"127.0.0.1:{superlink_port}",
                node_config='dtfl-store="store" dtfl-chance="seeded" dtfl-device="cpu"',
            )
            running.enter_context(started([*node, "--port", str(port)], folder, folder / "home"))
        ran = subprocess.run(
            [*flower_pages.run_command(), "--run-config", 'listen="127.0.0.1:0" reached-at="127.0.0.1:0"'],
            cwd=project,
            env=environment(project / "flower"),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    logs = "\n".join(path.read_text() for path in project.rglob("*.log"))
    assert "run folder            runs/run" in ran.stdout, (
        f"{shlex.join(map(str, ran.args))}\n{ran.stdout}{ran.stderr}{logs}"
    )
    assert not [line for line in ran.stdout.splitlines() if " is out: " in line]
    train(config, out=tmp_path / "simulated")
    assert same_weights(project / "runs" / "run", tmp_path / "simulated")
    for client in range(CLIENTS):
        log = (made.folder.client(client).path / "flower-supernode.log").read_text()
        assert f"as client {client}\n" in log  # the one under whose name the key was registered
        assert "dtfl-private: ended: all 2 rounds are done\n" in log
