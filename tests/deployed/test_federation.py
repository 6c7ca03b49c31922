"""Server and clients as processes of their own: the same training as in one process."""

import json
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dtfl_private.experiments.train import train
from tests.deployed.federation import federation


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs have ended with the same weights, to the last bit."""
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduler": "static:2"},
        {"scheduler": "static:3", "precision": "bf16", "memory_format": "contiguous", "partition": "dirichlet:0.5"},
        {"scheduler": "static:1", "memory_format": "contiguous", "normalization": "client-sums"},
        {"scheduler": "static:2", "precision": "bf16", "memory_format": "channels-last", "local_epochs": 2},
        {"scheduler": "static:2", "wire": "int8", "send_every": 2, "partition": "dirichlet:0.5"},
        {"method": "dtfl-full", "scheduler": "static:4", "rounds": 1},
        {"method": "dtfl-shared:replicas=3", "scheduler": "static:2", "rounds": 1, "partition": "dirichlet:0.5"},
        {"method": "local-loss:cut=3", "rounds": 1, "partition": "dirichlet:0.5"},
    ],
    ids=["fp32", "bf16", "sums", "bf16 channels-last", "int8", "whole network", "shared", "local-loss"],
)
def test_three_processes_train_the_weights_of_one(tmp_path, changes):
    with federation(tmp_path, **changes) as made:
        server = made.serve()
        clients = made.join_all()
        server.ended()
        assert [client.ended() for client in clients] == [f"all {made.config.rounds} rounds are done"] * 3
        train(made.config, out=tmp_path / "simulated")
        assert same_weights(made.run, tmp_path / "simulated")
    told = json.loads((made.run / "environment.json").read_text())
    assert told["clock"] == "wall"
    assert "over a real network; times were measured" in (made.run / "README.md").read_text()


def test_a_killed_client_is_out_and_the_others_go_on(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=3) as made:
        server, clients = made.serve(), made.join_all()
        server.wait_for("round")
        clients[1].wait_for("say", "round 2: tier")
        clients[1].kill()
        record = server.wait_for("round")
        assert (record["round"], record["dropped"]) in [(2, [1]), (2, [])]  # it may have just been done
        assert server.wait_for("round")["participants"] == [0, 2]
        server.ended()


def test_a_killed_server_goes_on_from_its_checkpoint_and_ends_as_if_it_had_not_been_killed(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=3) as made:
        server, clients = made.serve(), made.join_all()
        clients[0].wait_for("say", "round 2: tier")
        server.kill()
        assert made.serve(resume=True).ended() is not None
        assert [client.ended() for client in clients] == ["all 3 rounds are done"] * 3
        train(made.config, out=tmp_path / "simulated")
        assert same_weights(made.run, tmp_path / "simulated")


def test_a_frozen_client_is_left_behind_at_the_deadline_and_comes_back(tmp_path):
    with federation(tmp_path, scheduler="static:2", rounds=3) as made:
        server, clients = made.serve(deadline_s=3.0), made.join_all()
        clients[2].wait_for("say", "round 1: tier")
        clients[2].signal(signal.SIGSTOP)
        assert server.wait_for("round")["dropped"] in ([2], [])
        clients[2].signal(signal.SIGCONT)
        server.ended()
