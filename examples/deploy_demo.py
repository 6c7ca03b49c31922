"""A deployment on one machine: a server and three clients of unequal speed, over TLS, in real time.

    python -m examples.deploy_demo [FOLDER]

The clients are processes that get a limit of their own on the CPU after two rounds, by a control group where one can be
made (Linux, as root), else by their priority; the scheduler finds that out and moves them to other tiers. The run ends
with the table, picture and folder that `train` leaves. What really crossed the wire was recorded by the server; at last
it is audited, at the shallowest tier.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

FOLDER = Path("runs/deploy-demo")
CONFIG = """\
dataset = "digits"
clients = 3
rounds = 15
first_tier = "middle"
record_rounds = ["last"]
record_images = 128
"""
# Shares of a core, by client, and priorities where there is no control group.
LIMITS = {0: (1.0, 0), 1: (0.3, 10), 2: (0.1, 19)}
PERIOD_US = 100_000
# Two rounds are played at full speed; then the scheduler has to find out.
LIMITED_AFTER = 2

# Of the audit, at the shallowest tier alone: two minutes are to suffice for everything.
SHORT = (
    *("--recorded", "--attack", "decoder:size=small,steps=200", "--seeds", "1", "--measured", "100"),
    *("--by-client", "off"),
)

PROGRAM = [sys.executable, "-m", "dtfl_private"]


def main(folder: Path) -> int:
    """Run the demo in a folder, which is made anew; return the exit status."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config, project, run = folder / "config.toml", folder / "project", folder / "run"
    config.write_text(CONFIG)
    call("deploy", "init", str(project), "--config", str(config), "--server-name", "127.0.0.1")
    log = folder / "server.log"
    with limited() as limit, running(*serve(project, run), told=log) as server, ExitStack() as ending:
        address = said(log, server, "listening at ").split(",")[0]
        with suppress(KeyboardInterrupt):
            commands = [join(project, folder, client, address) for client in LIMITS]
            clients = [ending.enter_context(running(*words)) for words in commands]
            said(log, server, f"round  {LIMITED_AFTER}/")
            for client, process in zip(LIMITS, clients, strict=True):
                limit(client, process.pid)
            server.wait()
            for process in clients:
                process.wait()
    print(log.read_text(), end="")
    if server.returncode:
        return server.returncode
    call("deploy", "status", str(run))
    call_all(
        ("deploy", "add-truth", str(run), str(client), str(folder / f"client-{client}" / "truth")) for client in LIMITS
    )
    last = json.loads((run / "rounds.jsonl").read_text().splitlines()[-1])
    call("audit", str(run), "--tier", str(min(last["tiers"].values())), *SHORT)
    return 0


def serve(project: Path, run: Path) -> Sequence[str]:
    """Return the server's command."""
    side = project / "server"
    return ["serve", str(project / "config.toml"), "--listen", "127.0.0.1:0", "--out", str(run), *keys(side, "server")]


def join(project: Path, folder: Path, client: int, address: str) -> Sequence[str]:
    """Return a client's command."""
    side, own = project / "clients" / f"client-{client}", folder / f"client-{client}"
    where = ["--store", str(own / "store"), "--keep-truth", str(own / "truth")]
    return ["join", address, *keys(side, "client"), *where, "--quiet"]


def keys(side: Path, name: str) -> Sequence[str]:
    """Return the options that name a side's credentials."""
    files = {"--ca": "ca.pem", "--cert": f"{name}.pem", "--key": f"{name}.key"}
    return [word for option, file in files.items() for word in (option, str(side / file))]


def call(*words: str) -> None:
    """Run a command of the program, and stop where it fails."""
    call_all([words])


def call_all(commands: Iterable[Sequence[str]]) -> None:
    """Run commands of the program side by side, and stop where one fails."""
    started = []
    for words in commands:
        print("$ dtfl-private", *words, flush=True)
        started.append(subprocess.Popen([*PROGRAM, *words]))
    statuses = [process.wait() for process in started]  # of all, whichever fails
    if any(statuses):
        raise SystemExit("the demo ends here: a command has failed")


@contextmanager
def running(*words: str, told: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one side, with one thread and with what it says in a file; end it with the block, if it has not ended."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with nullcontext() if told is None else told.open("wb") as log:
        process = subprocess.Popen([*PROGRAM, "deploy", *words], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def said(log: Path, server: "subprocess.Popen[bytes]", what: str) -> str:
    """Return what stands behind these words in a line of the server's, once it says so."""
    while server.poll() is None:
        for line in log.read_text().splitlines():
            _, found, rest = line.partition(what)
            if found:
                return rest
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.2)
    raise SystemExit(log.read_text())


@contextmanager
def limited() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that limits a client's process, by its number and pid."""
    base = Path("/sys/fs/cgroup/cpu")
    version_1 = (base / "cpu.cfs_period_us").is_file()
    groups = [(base if version_1 else base.parent) / f"dtfl-private-demo-{os.getpid()}-{client}" for client in LIMITS]

    def limit(client: int, pid: int) -> None:
        share, priority = LIMITS[client]
        group = groups[client]
        try:
            group.mkdir()
            if version_1:
                (group / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
            else:
                (group / "cpu.max").write_text(f"{int(share * PERIOD_US)} {PERIOD_US}")
            (group / "cgroup.procs").write_text(str(pid))
            print(f"client {client}: {share:.0%} of a core, by a control group", flush=True)
        except OSError:
            os.setpriority(os.PRIO_PROCESS, pid, priority)
            print(f"client {client}: priority {priority}, as no control group can be made", flush=True)

    try:
        yield limit
    finally:
        for group in groups:
            with suppress(OSError):
                group.rmdir()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was begun is ended
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
