"""Clients and jobs on a Ray cluster of this machine: one cluster and two actors for most, as starting takes seconds."""

import ast
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from ray_nodes import PATIENCE, ROOT, head_node
from ray_parts import DiesOnce, Unsendable, work

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.cli.main import main
from dtfl_private.errors import InputError, NonFiniteLossError, WorkerError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.preset import load_preset
from dtfl_private.experiments.sweep import sweep
from dtfl_private.experiments.train import train
from dtfl_private.runtime import evaluation, ray_clients, ray_cluster, ray_jobs
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import device_on
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.executors import open_executor
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.runtime.jobs import Ended, OnCluster, Reported, run_jobs
from dtfl_private.runtime.ray_actor import RayActor
from dtfl_private.runtime.ray_clients import RayClients
from dtfl_private.runtime.ray_cluster import Crew, Node, connected, most_actors
from dtfl_private.training.round import run_round
from dtfl_private.training.tasks import ClientTask, ImageRange

TWO = RayChoice(actors=2)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one node with two cores, to which this process is connected; its address."""
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, Path(__file__).parent))),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.urandom(32).hex(),
        "RAY_USAGE_STATS_ENABLED": "0",
        **PATIENCE,
    }
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # names of sockets below pytest's own would be too long
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(ray_cluster, "START_S", ray_cluster.FIRST_S)  # tests count on both actors
        assert "ray" not in sys.modules, "it reads its variables when it is imported"
        with head_node(folder, environment) as address, connected(RayChoice(address=address)):
            yield address
            KeptCrew.end()
    shutil.rmtree(folder, ignore_errors=True)


class KeptCrew(Crew):
    """Actors that several executors use, one after the other."""

    idle: ClassVar[list] = []

    def _start_one(self):
        kind = self._kind
        if self.idle:
            actor = self.idle.pop()
            self._kind = type("Kept", (), {"remote": lambda _: actor})()
        super()._start_one()
        self._kind = kind

    def stop(self):
        self.idle.extend([*self.alive, *self._starting.values()])  # calls of those that start wait in line
        self.alive, self._starting = [], {}
        super().stop()

    @classmethod
    def end(cls):
        import ray

        for actor in cls.idle:
            ray.kill(actor)
        cls.idle.clear()


@pytest.fixture
def kept(cluster, monkeypatch):
    """Use the actors that are there already; the cluster's address."""
    monkeypatch.setattr(ray_clients, "Crew", KeptCrew)
    monkeypatch.setattr(ray_jobs, "Crew", KeptCrew)
    return cluster


@pytest.fixture
def on_ray(kept):  # noqa: ARG001 - a fixture takes others by its arguments
    """Open an executor in two actors: ``on_ray(setup)``."""
    opened = []

    def open_one(setup) -> RayClients:
        opened.append(RayClients(setup, TWO, participants=9))
        opened[-1].start()
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.close()


def weights_of(state) -> dict[str, torch.Tensor]:
    heads = {f"{tier}/{name}": t for tier, head in state.weights.heads.items() for name, t in head.items()}
    return {**state.weights.model, **heads, **state.extras}


def require_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def tasks_of(*clients) -> list[ClientTask]:
    return [ClientTask(client=k, round=1, tier=1, lr=0.01, batches=2, completes=True) for k in clients]


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.2, "augment": ["crop"], "defense": ["identity"], "local_epochs": 2},
        {"precision": "bf16", "validation": 0.2},
        {"method": "fedgkt"},
        {"method": "u-shaped"},
    ],
    ids=["dtfl", "bf16", "fedgkt", "u-shaped"],
)
def test_rounds_on_a_cluster_are_those_of_this_process_bit_for_bit(prepare_tiny, play, on_ray, settings, monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 5)
    prepared = prepare_tiny(clients=5, **settings)
    executor, state = on_ray(prepared.worker), prepared.initial
    for expected, figures in play(prepared, 2):
        state, outcome = run_round(prepared.method, state, prepared.settings, executor, Callback())
        require_same(weights_of(state), weights_of(expected))
        for field in ("test_accuracy", "test_loss", "local_loss", "server_loss", "traffic", "macs", "virtual_time_s"):
            assert getattr(outcome, field) == getattr(figures, field)
    own = InProcess(prepared.worker)
    some = ImageRange(start=1, step=2)
    assert torch.equal(executor.logits(state.weights.model, some), own.logits(state.weights.model, some))
    assert executor.evaluate(state.weights.model) == own.evaluate(state.weights.model)


def test_what_an_actor_was_at_when_it_died_is_done_again_elsewhere(prepare_tiny, on_ray, tmp_path, caplog):
    prepared = prepare_tiny(clients=7)
    own = list(InProcess(prepared.worker).train(tasks_of(6, 2, 4, 0, 5, 1, 3), prepared.initial.weights))
    file = tmp_path / "a death is left"
    file.touch()
    executor = on_ray(replace(prepared.worker, work=DiesOnce(prepared.worker.work, 4, str(file))))
    results = list(executor.train(tasks_of(6, 2, 4, 0, 5, 1, 3), prepared.initial.weights))
    assert not file.exists()
    assert [record.getMessage() for record in caplog.records if "died" in record.getMessage()] == [
        f"a Ray actor on {socket.gethostname()} died: what it was at is done again elsewhere"
    ]
    assert [result.client for result in results] == [6, 2, 4, 0, 5, 1, 3]
    for one, other in zip(results, own, strict=True):
        require_same({**one.model, **one.head}, {**other.model, **other.head})
        assert (one.local_loss, one.server_loss) == (other.local_loss, other.server_loss)


def test_a_call_that_actors_die_of_ends_the_run_and_a_failure_is_what_it_was(prepare_tiny, on_ray, monkeypatch):
    prepared = prepare_tiny(clients=7)
    weights = prepared.initial.weights
    executor = on_ray(prepared.worker)
    hot = ClientTask(client=5, round=9, tier=1, lr=1e30, batches=4, completes=True)
    with pytest.raises(NonFiniteLossError, match=r"local loss of client 5 became .* in round 9"):
        list(executor.train([hot], weights))
    lost = []
    monkeypatch.setattr(ray_clients, "answer", lambda *_: None)  # as when an actor has died
    monkeypatch.setattr(executor._crew, "lose", lost.append)
    with pytest.raises(WorkerError, match=r"3 Ray actors died .* at the same client; a guess: .* ran out of memory"):
        list(executor.train(tasks_of(4), weights))
    assert len(lost) == 3


def test_few_results_wait_and_old_weights_are_forgotten(prepare_tiny, on_ray):
    """What is kept does not grow with the clients of a round, or with the rounds."""
    import ray

    prepared = prepare_tiny(clients=7)
    executor, asked = on_ray(prepared.worker), []
    groups = ([task] for task in tasks_of(*range(7)) if asked.append(task.client) is None)
    results = executor.train_groups(groups, prepared.initial.weights)
    assert next(results).client == 0
    assert asked == [0, 1, 2, 3]
    assert [result.client for result in results] == [1, 2, 3, 4, 5, 6]
    before = executor._weights.reference.hex().encode()
    executor.evaluate(prepared.initial.weights.model)
    known = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
    assert executor._weights.reference.hex().encode() in known
    assert before not in known


def test_an_actor_that_begins_anew_forgets_the_weights_that_it_had(prepare_tiny, on_ray):
    prepared = prepare_tiny(clients=5)
    model = prepared.initial.weights.model
    for factor in (1, 2, 3):  # one more than there are actors
        state = {name: tensor * factor for name, tensor in model.items()}
        executor = on_ray(prepared.worker)
        assert executor.evaluate(state) == InProcess(prepared.worker).evaluate(state)
        executor.close()


@pytest.mark.usefixtures("cluster")
def test_ray_prints_nothing_to_standard_output(capsys):
    """It would be in the midst of ``--json``."""
    import ray

    ray._private.worker.print_to_stdstream({"lines": ["a worker died"], "pid": "raylet", "is_err": False}, False)
    ray._private.worker.stdout_deduplicator.flush()
    assert capsys.readouterr().out == ""


def test_nodes_that_differ_are_told_of_in_one_line(cluster, caplog):
    with connected(RayChoice(address=cluster)) as ray:
        crew = Crew(ray, TWO, 2)
        for number, kind in enumerate(("EPYC, torch 2.6", "Xeon, torch 2.6", "EPYC, torch 2.6")):
            crew._nodes[number] = Node(host="a", process=number, computes_by=kind)
        crew._warn_of_differences()
        crew._nodes.pop(1)
        crew._warn_of_differences()
    assert [record.getMessage() for record in caplog.records] == [
        "the cluster's nodes differ (EPYC, torch 2.6; Xeon, torch 2.6): the same run may end a little differently on "
        "others of them"
    ]


@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_sent_or_is_of_another_version_is_refused(prepare_tiny):
    with pytest.raises(InputError, match=r"^the method cannot be sent to a Ray cluster \(TypeError: .*local"):
        RayClients(replace(prepare_tiny().worker, work=Unsendable()), TWO, 3)
    with pytest.raises(
        InputError, match=rf"node {socket.gethostname()} has dtfl-private .*, this machine 0\.0\.7: inst"
    ):
        RayActor().begin({}, False, "0.0.7")


@pytest.mark.usefixtures("cluster")
def test_clusters_that_are_not_there_or_have_no_gpus_are_refused_in_one_line(prepare_tiny, monkeypatch):
    setup = prepare_tiny().worker
    with pytest.raises(InputError, match=r"^executor ray:gpus=0.25: no node has a core and 0.25 of a GPU .*has 0 GPUs"):
        open_executor(setup, 1, executor="ray:gpus=0.25")
    with pytest.raises(InputError, match=r"this program is connected to another cluster already"):
        open_executor(setup, 1, executor="ray:address=127.0.0.1:1")
    with pytest.raises(InputError, match=r"observers see messages in this process only: use executor='local'"):
        open_executor(setup, 1, [print], executor="ray")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"asks for GPUs, and this machine, .* has none: leave gpus out"):
        device_on("ray:gpus=0.25", "auto")
    with pytest.raises(InputError, match=r"device 'cuda' does not go with executor ray, .* --executor ray:gpus=SHARE"):
        device_on("ray", "cuda")
    assert [device_on("ray", "auto"), device_on("local", "auto"), device_on("ray", "cpu")] == ["cpu", "auto", "cpu"]


def test_a_share_of_a_gpu_makes_so_many_actors():
    class FakeRay:
        """Two nodes: one with two GPUs and five cores, one with a GPU and one core; one is dead."""

        @staticmethod
        def nodes():
            resources = [{"CPU": 5.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 64.0, "GPU": 8.0}]
            return [{"Alive": cores["CPU"] < 60, "Resources": cores} for cores in resources]

    assert most_actors(FakeRay, RayChoice()) == 6
    assert most_actors(FakeRay, RayChoice(gpus=1)) == 3
    assert most_actors(FakeRay, RayChoice(gpus=0.33)) == 6
    assert most_actors(FakeRay, RayChoice(gpus=0.5)) == 5
    assert most_actors(FakeRay, RayChoice(gpus=0.5, actors=2)) == 2


def test_nobody_at_an_address_and_no_ray_are_said(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: None)  # other tests use the connection that there is
    monkeypatch.setattr("ray._private.worker._worker_logs_enabled", False)
    for address in ("auto", f"127.0.0.1:{port}"):
        with pytest.raises(InputError) as refused, connected(RayChoice(address=address)):
            pass
        assert f"executor ray: nobody answers at 127.0.0.1:{port} (Connection refused)" in str(refused.value)
    said = ray_cluster._why_not(RayChoice(), ConnectionError("Could not find any running Ray instance.\nMore"))
    assert said.startswith("this machine belongs to no running Ray cluster: begin one with `ray start --head`")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError) as refused, connected(RayChoice()):
        pass
    assert str(refused.value) == 'executor ray needs Ray: pip install "dtfl-private[ray]"'


def test_the_core_imports_no_ray():
    """Only functions do, of the modules that nothing but ``--executor ray`` loads."""
    for path in (ROOT / "dtfl_private").rglob("*.py"):
        text = path.read_text("utf-8")
        body = ast.parse(text).body if re.search(r"\bray(_|\b)", text) else []
        names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
        names += [str(node.module) for node in body if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.partition(".")[0] == "ray"]
        of_ray = [name for name in names if name.startswith("dtfl_private.runtime.ray_")]
        assert not of_ray or path.name.startswith("ray_")


JOBS = [(2, "well"), (1, "fail"), (0, "stumble"), (1, "die once"), (1, "well")]


@pytest.mark.usefixtures("kept")
def test_jobs_on_a_cluster_tell_as_they_go_fail_alone_and_survive_their_actor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("deaths left").touch()
    heard = []
    run_jobs(work, JOBS, 1, heard.append, OnCluster.of(TWO, tmp_path))
    told = {
        job: [event.what for event in heard if event.job == job and isinstance(event, Reported)] for job in range(5)
    }
    assert set(told.pop(3)) == {("step", 0)}  # once, or twice if the first was on its way before the actor died
    assert told == {0: [("step", 0), ("step", 1)], 1: [("step", 0)], 2: [], 4: [("step", 0)]}
    assert {event.job: event.error for event in heard if isinstance(event, Ended)} == {
        0: None,
        1: "it could not go on",
        2: "ZeroDivisionError: by zero",
        3: None,
        4: None,
    }
    assert {path.name for path in tmp_path.iterdir()} == {"done-well", "done-die once"}


@pytest.mark.usefixtures("kept")
def test_jobs_whose_files_a_node_does_not_see_are_not_begun(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    heard = []
    monkeypatch.setattr(ray_jobs.Path, "absolute", lambda path: gone / path.name)
    run_jobs(work, JOBS[:1], 1, heard.append, OnCluster.of(TWO, tmp_path))
    assert [event.error for event in heard] == [
        f"node {socket.gethostname()} does not see the files in '{gone}'; jobs read and write files: start them in a "
        "folder that all nodes share, and give --out one that they share"
    ]


TINY = """
title = "tiny"
seeds = [0, 1]

[config]
clients = 3
batch_size = 8
device = "cpu"

[[grid]]
method = ["fedavg"]

[sizes.small]
dataset = "digits:size=8"
max_train_images = 30
rounds = 1
"""


@pytest.mark.usefixtures("kept")
def test_a_sweep_on_a_cluster_is_that_of_this_machine(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    preset = load_preset(tmp_path / "tiny.toml", "small")
    here = sweep(preset, tmp_path / "here", parallel=1)
    there = sweep(preset, tmp_path / "there", executor="ray:actors=2")
    assert not there.failed
    for one, other in zip(there.runs, here.runs, strict=True):
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"parallel 2 is of this machine: with executor ray say ray:actors=2"):
        sweep(preset, tmp_path / "there", parallel=2, executor="ray")


def test_a_run_on_a_cluster_is_that_of_this_machine_and_so_are_attacks_on_it(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(max_train_images=60, clients=3, rounds=2, batch_size=8, device="cpu")
    here = train(config, out="here")
    there = train(config.model_copy(update={"executor": f"ray:address={kept},actors=2"}), out="there")
    assert (there.folder.path / "model.safetensors").read_bytes() == (
        here.folder.path / "model.safetensors"
    ).read_bytes()
    assert [record | {"wall_time_s": 0} for record in there.records] == [
        record | {"wall_time_s": 0} for record in here.records
    ]
    assert there.config.executor == "ray:actors=2"  # where that was stays here
    assert json.loads(there.folder.environment.read_text())["executor"] == "ray:actors=2"

    assert train(config, out="there", resume=True).records == there.records  # goes on here, if there were more to do

    few = {"victims": 8, "aux_images": 24, "seeds": 1, "tiers": (1, 2), "device": "cpu"}
    few |= {"attacks": ("optimization:steps=2,smoothness=0.01",)}
    alone = attack(there.folder, AttackConfig.model_validate({**few, "threads": 1}), out="alone")
    handed_over = []

    def and_noted(function, jobs, *more):
        handed_over.extend(jobs)
        run_on_ray(function, jobs, *more)

    run_on_ray = ray_jobs.run_on_ray
    monkeypatch.setattr(ray_jobs, "run_on_ray", and_noted)
    several = attack(there.folder, AttackConfig.model_validate({**few, "executor": "ray:actors=2"}), out="several")
    assert several.results == alone.results
    assert len(handed_over) == 2


def test_the_command_keeps_its_output_and_the_address(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
    settings = ["--max-train-images", "60", "--clients", "2", "--batch-size", "8", "--device", "cpu", "--rounds", "1"]
    with pytest.raises(SystemExit) as left:
        main(["train", *settings, "--out", "run", "--json", "--executor", f"ray:address={kept},actors=2"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["finished"] is True
    assert 'executor = "ray:actors=2"' in (tmp_path / "run" / "config.toml").read_text()
