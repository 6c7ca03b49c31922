"""Clients and jobs on a Ray cluster: two nodes of this machine, and one actor on each that all share."""

import json
import os
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ray_nodes import PATIENCE, ROOT, ends, two_nodes
from ray_parts import DiesOnce, DiesWithItsNode, Unsendable, work

from dtfl_private.attacking import attack_plan
from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.auditing import identity_check, measuring, shallowest_check, work_ahead, written_audit
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.measuring import MEASURES
from dtfl_private.auditing.runner import audit
from dtfl_private.cli.main import main
from dtfl_private.errors import InputError, NonFiniteLossError, WorkerError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.preset import load_preset
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.sweep import sweep
from dtfl_private.experiments.train import train
from dtfl_private.runtime import evaluation, ray_clients, ray_crew, ray_jobs
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import device_on
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.executors import cluster_kept, open_executor
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.runtime.jobs import Ended, OnCluster, Reported, run_jobs
from dtfl_private.runtime.ray_actor import RayActor
from dtfl_private.runtime.ray_clients import RayClients
from dtfl_private.runtime.ray_cluster import connected
from dtfl_private.training.round import run_round
from dtfl_private.training.tasks import ClientTask, ImageRange

TWO = RayChoice(actors=2)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes with one core each; its address, and the second node."""
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, Path(__file__).parent))),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.urandom(32).hex(),
        "RAY_USAGE_STATS_ENABLED": "0",
        **PATIENCE,
    }
    # Names of sockets below pytest's own folder would be too long.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-") as folder:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(ray_crew, "START_S", ray_crew.FIRST_S)  # tests count on both actors
        assert "ray" not in sys.modules, "it reads its variables when it is imported"
        with two_nodes(Path(folder), environment) as (address, second):
            yield address, second


@pytest.fixture(scope="module")
def cluster(nodes):
    """A connection to the cluster that all tests use, and actors that they share; the address."""
    address, second = nodes
    choice = RayChoice(address=address)
    with cluster_kept(str(choice)), connected(choice) as connection:
        second.wait_until(lambda: sum(node["Alive"] for node in connection.ray.nodes()) == 2)
        yield address


@pytest.fixture
def on_ray(cluster):  # noqa: ARG001 - a fixture takes others by its arguments
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


def test_what_an_actor_was_at_when_it_died_is_done_again_elsewhere(prepare_tiny, on_ray, tmp_path, warned, monkeypatch):
    monkeypatch.setattr(ray_clients, "CALLS_OF_ROUND", 1)  # three clients in a call
    prepared = prepare_tiny(clients=7)
    own = list(InProcess(prepared.worker).train(tasks_of(6, 2, 4, 0, 5, 1, 3), prepared.initial.weights))
    file = tmp_path / "a death is left"
    file.touch()
    executor = on_ray(replace(prepared.worker, work=DiesOnce(prepared.worker.work, 4, str(file))))
    results = list(executor.train(tasks_of(6, 2, 4, 0, 5, 1, 3), prepared.initial.weights))
    assert not file.exists()
    assert [line for line in warned if "died" in line] == [
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
    with pytest.raises(WorkerError, match=r"3 Ray actors died .* at the same clients; a guess: .* ran out of memory"):
        list(executor.train(tasks_of(4), weights))
    assert len(lost) == 3


def test_few_results_wait_and_old_weights_are_forgotten(prepare_tiny, on_ray):
    """What is kept does not grow with the clients of a round, or with the rounds."""
    import ray

    prepared = prepare_tiny(clients=7)
    executor, asked = on_ray(prepared.worker), []

    class Groups(list):
        def __iter__(self):
            return (group for group in super().__iter__() if asked.append(group[0].client) is None)

    results = executor.train_groups(Groups([task] for task in tasks_of(*range(7))), prepared.initial.weights)
    assert next(results).client == 0
    assert asked == [0, 1, 2, 3]
    assert [result.client for result in results] == [1, 2, 3, 4, 5, 6]
    asked_at_once = [executor._groups_of_call(groups, size) for groups, size in ((100, 4), (100, 2**21), (100, 2**30))]
    assert asked_at_once == [6, 4, 1]
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


JOBS = [(2, "well"), (1, "fail"), (0, "stumble"), (1, "well")]


@pytest.mark.usefixtures("cluster")
def test_jobs_on_a_cluster_tell_as_they_go_and_fail_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heard = []
    run_jobs(work, JOBS, 1, heard.append, OnCluster.of(TWO, tmp_path))
    told = {
        job: [event.what for event in heard if event.job == job and isinstance(event, Reported)] for job in range(4)
    }
    assert told == {0: [("step", 0), ("step", 1)], 1: [("step", 0)], 2: [], 3: [("step", 0)]}
    assert {event.job: event.error for event in heard if isinstance(event, Ended)} == {
        0: None,
        1: "it could not go on",
        2: "ZeroDivisionError: by zero",
        3: None,
    }
    assert {path.name for path in tmp_path.iterdir()} == {"done-well"}


@pytest.mark.usefixtures("cluster")
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


RUN = TrainConfig(
    dataset="digits:size=8",
    max_train_images=120,
    clients=4,
    rounds=2,
    batch_size=8,
    device="cpu",
    workers=1,
    defense=("dropout:p=0.1",),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A run of this process."""
    return train(RUN, out=tmp_path_factory.mktemp("runs") / "here")


def require_same_run(folder, here):
    """Require that two runs came to the same weights and records."""
    assert (folder / "model.safetensors").read_bytes() == here.folder.model.read_bytes()
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert [line | {"wall_time_s": 0} for line in lines] == [dict(one) | {"wall_time_s": 0} for one in here.records]


def test_the_command_trains_as_this_process_does_keeps_its_output_and_the_address(
    cluster, here, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
    Path("run.toml").write_text(here.folder.config.read_text().replace('executor = "local"', 'executor = "ray"'))
    with pytest.raises(SystemExit) as left:
        main(["train", "run.toml", "--out", "run", "--json", "--executor", f"ray:address={cluster},actors=2"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["finished"] is True
    require_same_run(Path("run"), here)
    assert 'executor = "ray:actors=2"' in Path("run/config.toml").read_text()  # where that was stays here
    assert json.loads(Path("run/environment.json").read_text())["executor"] == "ray:actors=2"
    train(RUN, out="run", resume=True)  # goes on here, if there were more to do
    require_same_run(Path("run"), here)


SWEEP = """
title = "tiny"
seeds = [0]

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


@pytest.mark.usefixtures("cluster")
def test_a_sweep_on_a_cluster_is_that_of_this_machine(tmp_path):
    (tmp_path / "tiny.toml").write_text(SWEEP)
    preset = load_preset(tmp_path / "tiny.toml", "small")
    here = sweep(preset, tmp_path / "here", parallel=1)
    there = sweep(preset, tmp_path / "there", executor="ray:actors=1")
    assert not there.failed
    for one, other in zip(there.runs, here.runs, strict=True):
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"parallel 2 is of this machine: with executor ray say ray:actors=2"):
        sweep(preset, tmp_path / "there", parallel=2, executor="ray")


def noted(monkeypatch) -> list:
    """Return the jobs that clusters are given from now on."""
    jobs = []
    run_on_ray = ray_jobs.run_on_ray

    def and_noted(function, given, *more):
        jobs.extend(given)
        run_on_ray(function, given, *more)

    monkeypatch.setattr(ray_jobs, "run_on_ray", and_noted)
    return jobs


ATTACKS = {"attacks": ("optimization:steps=1,smoothness=0.01",), "victims": 8, "seeds": 1, "device": "cpu"}


@pytest.mark.usefixtures("cluster")
def test_attacks_on_a_cluster_are_those_of_this_process(here, tmp_path, monkeypatch):
    jobs = noted(monkeypatch)
    few = {**ATTACKS, "aux_images": 24, "tiers": (1,), "threads": 1}
    alone = attack(here.folder, AttackConfig.model_validate(few), out=tmp_path / "alone", pictures=False)
    config = AttackConfig.model_validate({**few, "executor": "ray:actors=1"})
    there = attack(here.folder, config, out=tmp_path / "there", pictures=False)
    assert there.results == alone.results
    assert [job.tier for job in jobs] == [1]


@pytest.mark.usefixtures("cluster")
def test_an_audit_on_a_cluster_is_that_of_one_thread(here, tmp_path, monkeypatch):
    """Its trainings and its jobs use the same actors, one after the other."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})
    monkeypatch.setattr(written_audit, "audit_page", lambda *_: "a page")
    monkeypatch.setattr(identity_check, "IDENTITY_SSIM", 0.0)
    monkeypatch.setattr(shallowest_check, "SHALLOWEST_SSIM", 0.0)
    monkeypatch.setattr(measuring, "MEASURES", {"effective-rank": MEASURES["effective-rank"]})
    monkeypatch.setattr(work_ahead, "measure_tasks", lambda *_: [])  # of others, too, which take long
    for module in (attack_plan, identity_check):
        monkeypatch.setattr(module, "available_cores", lambda: 1)
    few = {**ATTACKS, "aux_images": 60, "tiers": (1,), "measured": 100, "workers": 1}
    alone = audit(here.folder, AuditConfig.model_validate(few), out=tmp_path / "alone").findings
    jobs = noted(monkeypatch)
    config = AuditConfig.model_validate({**few, "executor": "ray:actors=1"})
    there = audit(here.folder, config, out=tmp_path / "there")
    differing = {name for name in type(alone).model_fields if getattr(there.findings, name) != getattr(alone, name)}
    assert differing <= {"settings", "repeat"}
    assert there.findings.settings["executor"] == "ray:actors=1"
    assert {job.purpose for job in jobs} >= {"", "twice the effort", "as scheduled"}
    undefended = RunFolder(path=tmp_path / "there" / "undefended")
    assert json.loads(undefended.environment.read_text())["executor"] == "ray:actors=1"


def test_a_node_that_is_killed_in_mid_round_changes_nothing(nodes, cluster, here, tmp_path, monkeypatch, warned):
    """The last test: the second node ends while a client's round is computed there, and another on the first node."""
    _, second = nodes
    fifo, doomed = tmp_path / "fifo", tmp_path / "doomed"
    os.mkfifo(fifo)
    processes = []
    sent = ray_clients._sent

    def and_doomed(ray, setup):
        return sent(ray, replace(setup, work=DiesWithItsNode(setup.work, str(doomed), str(fifo))))

    class FromRoundTwo(Callback):
        def round_finished(self, record):
            if record["round"] == 1:
                processes.extend(second.processes())  # its actor is among them now
                doomed.write_text(" ".join(map(str, processes)))

    monkeypatch.setattr(ray_clients, "_sent", and_doomed)
    config = RUN.model_copy(update={"executor": f"ray:address={cluster},actors=2"})
    there = train(config, out=tmp_path / "there", callbacks=[FromRoundTwo()])
    assert processes
    assert all(ends(pid, within_s=60) for pid in processes)
    assert "died: what it was at is done again elsewhere" in "\n".join(warned)
    require_same_run(there.folder.path, here)
