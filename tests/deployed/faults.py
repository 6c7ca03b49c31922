"""Faults at random moments, and what must hold whatever they were.

    python -m tests.deployed.faults --faults 50 --runs 5 --seed 1

A federation of real processes, each client behind a cable of its own, is supervised as services are: what dies is
started anew. Faults are drawn by a seed; when they strike depends on how fast the machine is.
"""

import argparse
import json
import random
import signal
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import torch
from safetensors.torch import load_file

from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import read_records
from tests.deployed.federation import PATIENCE_S, Federation, Hooks, Peer, federation
from tests.deployed.proxy import Cable

KINDS = ("kill client", "freeze client", "cut cable", "dead cable", "kill server", "freeze server")
DEADLINE_S, KEEPALIVE_S = 5.0, 4.0
LONGEST_CALM_S = 2.0
"""Between two faults, at most."""
BATCH_S = 0.2
"""By which a batch takes longer: most faults are to strike in the middle of a round."""
SLACK_S = 30.0
"""By which a round may be longer than its deadline, on a machine that is busy."""


@dataclass
class FaultyRun:
    """A run that is disturbed.

    made: its federation. random: for its faults. cables: of the clients. struck: the faults so far. failed: what a
    process ended with that was no end of the run.
    """

    made: Federation
    random: random.Random
    cables: list[Cable] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    server: Peer | None = None
    clients: dict[int, Peer] = field(default_factory=dict)
    has_ended: bool = False

    def start(self) -> None:
        """Start the server, and the clients behind their cables."""
        self.server = self._serve()
        for client in range(self.made.config.clients):
            self.cables.append(Cable(self.made.address))
            self._join(client)

    def close(self) -> None:
        """End all processes, then the cables."""
        self.made.close()
        for cable in self.cables:
            cable.__exit__(None, None, None)

    def strike(self) -> None:
        """Let the next fault happen, and heal what it leaves behind."""
        kind, client = self.random.choice(KINDS), self.random.randrange(self.made.config.clients)
        self.struck.append(f"{kind} {client}" if "client" in kind or "cable" in kind else kind)
        peer, cable = self.clients[client], self.cables[client]
        assert self.server is not None
        match kind:
            case "kill client":
                self._kill(peer)
                self.watch(self._calm_s())
                self._join(client)
            case "freeze client":
                self._freeze(peer)
            case "freeze server":
                self._freeze(self.server)
            case "cut cable":
                cable.cut()
            case "dead cable":
                cable.die()
                self.watch(KEEPALIVE_S * self.random.uniform(0, 2))
                cable.revive()
            case "kill server" if self.server.process.is_alive():
                self._kill(self.server)
                self.watch(self._calm_s())
                self.server = self._serve()

    def watch(self, seconds: float) -> None:
        """Hear what the processes say for so long, and start anew what has ended by itself before the run has."""
        end_s = time.monotonic() + seconds
        while not self.has_ended and (left_s := end_s - time.monotonic()) > 0:
            ours = {peer.pipe: peer for peer in self.made.peers if not peer.pipe.closed}
            for pipe in wait(list(ours), left_s):
                self._hear(ours[pipe])

    def _hear(self, peer: Peer) -> None:
        try:
            kind, value = peer.pipe.recv()
        except EOFError:
            peer.pipe.close()
            return
        peer.heard.append((kind, value))
        if kind == "ended":  # the server, or a client that it has said goodbye to
            self.has_ended = True
        if kind == "failed":
            self.failed.append(f"{peer.name}: {value}")

    def _calm_s(self) -> float:
        return self.random.uniform(0, LONGEST_CALM_S)

    def _freeze(self, peer: Peer) -> None:
        if peer.process.is_alive():
            peer.signal(signal.SIGSTOP)
            self.watch(self.random.uniform(0, DEADLINE_S))
            peer.signal(signal.SIGCONT)

    def _kill(self, peer: Peer) -> None:
        if peer.process.is_alive():
            peer.kill()
        self.made.restarted(peer)

    def _serve(self) -> Peer:
        return self.made.serve(resume=True, deadline_s=DEADLINE_S, keepalive_s=KEEPALIVE_S)

    def _join(self, client: int) -> None:
        self.clients[client] = self.made.join(
            client,
            address=self.cables[client].address,
            keepalive_s=KEEPALIVE_S,
            hooks=Hooks(updates=self.made.folder / "updates", slow=(BATCH_S,)),
        )


def run_with_faults(folder: Path, faults: int, seed: int, **changes: object) -> FaultyRun:
    """Disturb a run so many times, then leave it alone until it ends; return it, all its processes ended.

    Raises:
        AssertionError: it did not end.
    """
    with federation(folder, scheduler="static:2", **changes) as made:
        run = FaultyRun(made, random.Random(seed))
        try:
            run.start()
            for _ in range(faults):
                run.watch(run._calm_s())
                if run.has_ended:
                    break
                run.strike()
            run.watch(PATIENCE_S)
            assert run.has_ended, f"the run does not end after {run.struck}: {[peer.heard for peer in made.peers]}"
        finally:
            run.close()
    return run


def check(run: FaultyRun) -> dict[str, int]:
    """Check what must hold of a run that has ended; return what was counted.

    Each round's weights at the clients are the average of the updates that were sent for it by those that the record
    names, by the examples in them; whatever a client was told is in the average is among them; no round of a client
    lasted longer than the deadline and what comes after it.

    Raises:
        AssertionError: something does not hold.
    """
    assert run.failed == []
    folder, rules = run.made.folder, Rules(deadline_s=DEADLINE_S)
    records, cut_off = read_records(RunFolder(path=run.made.run))
    assert cut_off is None
    assert [record["round"] for record in records] == list(range(1, run.made.config.rounds + 1))
    assert json.loads((run.made.run / "summary.json").read_text())["finished"]
    counted = {"rounds": len(records), "updates": 0, "acknowledged": 0, "dropped": 0}
    for record in records:
        averaged = set(record["participants"]) - set(record["dropped"])
        acknowledged = {
            int(path.stem.partition("-")[2]) for path in (folder / "updates").glob(f"{record['round']}-*.acknowledged")
        }
        assert acknowledged <= averaged, (record["round"], acknowledged, averaged)
        require_average(folder, record["round"], sorted(averaged))
        frozen = any(kind == "freeze server" for kind in run.struck)
        longest_s = max(record["client_time_s"].values(), default=0.0)
        assert longest_s <= rules.deadline_s + rules.grace_s + SLACK_S + (DEADLINE_S if frozen else 0.0)
        counted["updates"] += len(averaged)
        counted["acknowledged"] += len(acknowledged)
        counted["dropped"] += len(record["dropped"])
    return counted


def require_average(folder: Path, number: int, clients: list[int]) -> None:
    """Raise unless the weights after a round are the average of these clients' updates, as they have sent them."""
    after = load_file(folder / f"model-{number}.safetensors")
    updates = [load_file(last_update(folder, number, client)) for client in clients]
    if not updates:
        before = load_file(folder / f"model-{number - 1}.safetensors") if number > 1 else {}
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        return
    weights = torch.stack([update["examples"] for update in updates]).double()
    for name in updates[0].keys() - {"examples"}:
        values = torch.stack([update[name].double() for update in updates])
        expected = torch.tensordot(weights / weights.sum(), values, dims=1)
        if not after[name].is_floating_point():
            expected = expected.round()
        assert torch.allclose(after[name].double(), expected, rtol=1e-5, atol=1e-6), (number, name, clients)


def last_update(folder: Path, number: int, client: int) -> Path:
    """Return the file of the update that a client has sent last for a round, which may have been played twice."""
    sent = (folder / "updates").glob(f"{number}-{client}-*.safetensors")
    return max(sent, key=lambda path: int(path.stem.rpartition("-")[2]))


def main() -> None:
    """Disturb several runs, and print what was counted."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--faults", type=int, default=50)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    struck = 0
    for number in range(given.runs):
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.monotonic()
            share = (given.faults - struck) // (given.runs - number)
            run = run_with_faults(Path(folder), share, given.seed + number, rounds=given.rounds)
            struck += len(run.struck)
            print(
                f"run {number + 1}: {time.monotonic() - began_s:.0f} s, {check(run)}, {', '.join(run.struck)}",
                flush=True,
            )
    print(f"{struck} faults in {given.runs} runs: every run has ended, every average is that of its updates")


if __name__ == "__main__":
    main()
