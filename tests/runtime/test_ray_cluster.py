"""Which cluster is used, and what of it; no cluster is there."""

import ast
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray_parts import work

from dtfl_private.errors import InputError
from dtfl_private.runtime import ray_cluster
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.jobs import Ended, Reported
from dtfl_private.runtime.ray_actor import Node
from dtfl_private.runtime.ray_cluster import Cluster, connected, kept, most_actors
from dtfl_private.runtime.ray_crew import Crew
from dtfl_private.runtime.ray_jobs import _Jobs


class FakeRay:
    """Two nodes: one with two GPUs and five cores, one with a GPU and one core; one is dead."""

    def __init__(self):
        self.killed = []

    def nodes(self):
        resources = [{"CPU": 5.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 64.0, "GPU": 8.0}]
        return [{"Alive": cores["CPU"] < 60, "Resources": cores} for cores in resources]

    def remote(self, **_):
        return lambda kind: kind

    def kill(self, actor, *, no_restart):
        assert no_restart
        self.killed.append(actor)


def test_a_share_of_a_gpu_makes_so_many_actors():
    assert most_actors(FakeRay(), RayChoice()) == 6
    assert most_actors(FakeRay(), RayChoice(gpus=1)) == 3
    assert most_actors(FakeRay(), RayChoice(gpus=0.33)) == 6
    assert most_actors(FakeRay(), RayChoice(gpus=0.5)) == 5
    assert most_actors(FakeRay(), RayChoice(gpus=0.5, actors=2)) == 2


def test_nodes_that_differ_are_told_of_in_one_line(warned):
    crew = Crew(Cluster(ray=FakeRay()), RayChoice(actors=2), 2)
    for number, kind in enumerate(("EPYC, torch 2.6", "Xeon, torch 2.6", "EPYC, torch 2.6")):
        crew._nodes[number] = Node(host="a", process=number, computes_by=kind)
    crew._warn_of_differences()
    crew._nodes.pop(1)
    crew._warn_of_differences()
    assert warned == [
        "the cluster's nodes differ (EPYC, torch 2.6; Xeon, torch 2.6): the same run may end a little differently on "
        "others of them"
    ]


def test_actors_that_wait_are_kept_for_those_who_want_such_and_ended_with_the_connection():
    ray = FakeRay()
    cluster = Cluster(ray=ray, idle=[(0.5, "a"), (0.0, "b"), (0.5, "c")])
    cluster.end_idle(but=0.5)
    assert (ray.killed, cluster.idle) == (["b"], [(0.5, "a"), (0.5, "c")])
    cluster.end_idle()
    assert (ray.killed, cluster.idle) == (["b", "a", "c"], [])


def test_nobody_at_an_address_and_no_ray_are_said(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    unconnected = SimpleNamespace(
        is_initialized=lambda: False, shutdown=lambda: None, _private=SimpleNamespace(worker=SimpleNamespace())
    )
    monkeypatch.setitem(sys.modules, "ray", unconnected)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
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


def test_a_head_may_be_called_by_any_of_its_names_while_one_connection_lasts():
    node = {"Alive": True, "Resources": {"CPU": 2}}
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **_: None,
        shutdown=lambda: None,
        nodes=lambda: [node],
        get_runtime_context=lambda: SimpleNamespace(gcs_address="192.0.2.9:6379"),
        _private=SimpleNamespace(worker=SimpleNamespace()),
    )
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", ray)
        here = f"127.0.0.1:{server.getsockname()[1]}"
        with kept(RayChoice(address=here)):
            for same in (here, "192.0.2.9:6379", "auto"):
                with connected(RayChoice(address=same)):
                    pass
            other = connected(RayChoice(address="192.0.2.8:6379"))
            with pytest.raises(InputError, match="connected to another cluster already"), other:
                pass


class DiedError(Exception):
    """What Ray raises for an actor that has died."""


class JobsOfActors:
    """Ray, as far as jobs need it: what each job says, one list for each time that it is begun."""

    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=DiedError)

    def __init__(self, says):
        self.says, self.begun = says, []

    def actor(self, name):
        return SimpleNamespace(work=SimpleNamespace(options=lambda num_returns: self._method(name, num_returns)))

    def _method(self, name, num_returns):
        assert num_returns == "streaming"
        return SimpleNamespace(remote=lambda _, job, *_files: self._begin(name, job))

    def _begin(self, name, job):
        self.begun.append((name, job))
        return iter(self.says[job].pop(0))

    def wait(self, streams, num_returns):
        return streams[:num_returns], streams[num_returns:]

    def get(self, said):
        if said is DiedError:
            raise DiedError
        return said


def test_a_job_whose_actor_dies_is_begun_again_elsewhere_unless_actors_die_of_it():
    ray = JobsOfActors(
        {
            "dies once": [[(False, "half"), DiedError], [(False, "half"), (False, "all"), (True, None)]],
            "kills": [[DiedError], [], [(False, "half"), DiedError]],
            "goes well": [[(True, None)]],
        }
    )
    crew = SimpleNamespace(alive=[ray.actor("a")], refresh=lambda: None)

    def lose(actor):
        crew.alive.remove(actor)
        crew.alive.append(ray.actor("another"))

    crew.lose = lose
    heard = []
    _Jobs(ray, crew, work, ["dies once", "kills", "goes well"], "token", heard.append).carry_out()
    assert [job for _, job in ray.begun] == ["dies once"] * 2 + ["kills"] * 3 + ["goes well"]
    assert [name for name, _ in ray.begun] == ["a"] + ["another"] * 5
    assert [(event.job, event.what) for event in heard if isinstance(event, Reported)] == [
        (0, "half"),
        (0, "half"),
        (0, "all"),
        (1, "half"),
    ]
    ends = {event.job: event.error for event in heard if isinstance(event, Ended)}
    assert (ends[0], ends[2]) == (None, None)
    assert ends[1].startswith("3 Ray actors died at it; a guess: their nodes ran out of memory")


def test_the_core_imports_no_ray():
    """Only functions do, of the modules that nothing but ``--executor ray`` loads."""
    for path in (Path(__file__).parents[2] / "dtfl_private").rglob("*.py"):
        text = path.read_text("utf-8")
        body = ast.parse(text).body if re.search(r"\bray(_|\b)", text) else []
        names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
        names += [str(node.module) for node in body if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.partition(".")[0] == "ray"]
        of_ray = [name for name in names if name.startswith("dtfl_private.runtime.ray_")]
        assert not of_ray or path.name.startswith("ray_")
