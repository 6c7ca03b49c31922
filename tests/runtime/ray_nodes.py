"""Ray clusters on this machine, of nodes that are processes of their own."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Ports that the system chooses, on this machine alone.
SETTINGS = (
    *("--block", "--node-ip-address=127.0.0.1", "--num-gpus=0", "--disable-usage-stats", "--include-log-monitor=false"),
    *("--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0"),
    "--dashboard-agent-listen-port=0",
)
HEAD = ("--head", "--port=0", "--include-dashboard=false", "--no-monitor")

# ``ray start`` without the server that lets programs connect from afar: it would not choose its port itself.
START = "from ray.scripts import scripts as s; s.get_ray_client_dependency_error = lambda: 'not wanted'; s.main()"

# On a busy machine processes start slowly, a node that answers late is no dead one, and memory that
# others take is no reason to kill actors.
PATIENCE = {
    "RAY_worker_register_timeout_seconds": "900",
    "RAY_agent_register_timeout_ms": "900000",
    "RAY_raylet_start_wait_time_s": "900",
    "RAY_gcs_server_port_wait_time_s": "900",
    "RAY_gcs_rpc_server_connect_timeout_s": "900",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_memory_monitor_refresh_ms": "0",
}


class RayNode:
    """A node: ``ray start`` and all that it starts, in a process group of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *settings: str) -> None:
        with (folder / f"node-{os.urandom(4).hex()}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, "start", *SETTINGS, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **PATIENCE, **environment},
                start_new_session=True,
            )
        self._log = Path(log.name)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready; raise what it said at last if it ends before."""
        while not ready():
            if self._process.poll() is not None:
                raise RuntimeError(self._log.read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """End all of its processes at once, as when the power fails."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End its processes, and those that are left after a while by force."""
        processes = self.processes()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in processes:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return its processes, children before those who started them."""
        parents = {int(path.name): parent for path in Path("/proc").glob("[0-9]*") if (parent := parent_of(path))}
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[::-1]


def parent_of(process: Path) -> int | None:
    """Return the parent of a process by its folder below /proc; None if it has ended."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int, within_s: float) -> bool:
    """Whether a process has ended, or does within so many seconds: one that was killed takes a while."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


@contextmanager
def node_of(folder: Path, environment: Mapping[str, str], *settings: str) -> Iterator[RayNode]:
    """Run a node with one core in the block."""
    node = RayNode(folder, environment, *settings, f"--temp-dir={folder}", "--num-cpus=1")
    try:
        yield node
    finally:
        node.stop()


@contextmanager
def two_nodes(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, RayNode]]:
    """Run a head and another node, each with a folder of its own; yield the head's address, and the other node."""
    first, second = folder / "1", folder / "2"
    first.mkdir()
    second.mkdir()
    with node_of(first, environment, *HEAD) as head:
        address = first / "ray_current_cluster"
        head.wait_until(lambda: address.exists() and address.read_text() != "")
        there = address.read_text().strip()
        with node_of(second, environment, f"--address={there}") as other:
            yield there, other
