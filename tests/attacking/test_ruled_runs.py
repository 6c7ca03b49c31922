"""Attacks on runs whose defenses have rules: the adversary knows them, and goes through what acts at its victims."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.base import AttackFacts, Tampering
from dtfl_private.attacking.victims.acting_defenses import profile_in
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated

PROFILES = [
    {"name": name, "cpus": 1.0, "up_mbit_s": 10.0, "down_mbit_s": 10.0} for name in ("phone", "laptop", "desktop")
]
RULES = ["laplace-noise:sd=5@tier>=2", "gaussian-noise:sd=3@tier=2"]


@dataclass(frozen=True, kw_only=True)
class Looks(LeastSquares):
    """Least squares that notes what it was shown."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")
    found: ClassVar[list[dict[str, Any]]] = []

    def reconstruct(self, view):
        data = view.auxiliary
        releases = {
            adaptive: view.program(view.seen[0], adaptive=adaptive).release(data.images[:4], data.labels[:4])
            for adaptive in (True, False)
        }
        clients = [seen.download.client for seen in view.seen]
        names = [name_of(member) for member in view.defense]
        self.found.append({"tier": view.tier, "names": names, "clients": clients, "releases": releases})
        return super().reconstruct(view)


@pytest.fixture
def shown(trained, mount):
    """Return what an attack is shown at each tier of a tiny run: ``shown(defense=[...], tiers=[...])``."""

    def look(*, attacked=None, **values):
        Looks.found.clear()
        report = mount(trained(**values), [Looks()], **(attacked or {}))
        return {one["tier"]: one for one in Looks.found}, report

    return look


def test_the_adversary_goes_through_exactly_what_acts_in_the_tier(shown):
    found, report = shown(defense=RULES, attacked={"tiers": "all"})
    assert {tier: one["names"] for tier, one in found.items()} == {
        1: [],
        2: ["laplace-noise", "gaussian-noise"],
        3: ["laplace-noise"],
    }
    for tier, one in found.items():
        assert torch.equal(one["releases"][True], one["releases"][False]) == (tier == 1)
    (line,) = [line for line in report.remarks if line.startswith("defenses that act there")]
    assert "tier 1: not defended at this tier; tier 2: laplace-noise, gaussian-noise; tier 3: laplace-noise" in line


def test_what_it_releases_itself_is_what_the_plain_defenses_of_the_tier_release(opened, tmp_path):
    """The same network and draws, under a chain without rules in which the same defenses have the same places."""
    ruled = opened(defense=RULES)
    chains = {1: [], 3: [create("defense", "laplace-noise:sd=5")]}
    chains[2] = [*chains[3], create("defense", "gaussian-noise:sd=3")]
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for tier, members in chains.items():
        worker = replace(ruled.prepared.worker, defense=DefenseChain(members))
        plain = replace(ruled, prepared=replace(ruled.prepared, worker=worker))
        released = []
        for run in (ruled, plain):
            setup = plan_attack(run, AttackConfig(threads=1), [LeastSquares()], tmp_path).setup
            evidence = setup.evidence(tier, None)
            seen = Seen(download=setup.honest(tier), batches=(), update=None)
            with isolated(0, "dropout"):
                released.append(evidence.network.program(seen, True, 7).release(images, torch.zeros(4).long()))
        assert torch.equal(*released)


def test_an_attack_in_a_tier_without_defenses_reaches_what_it_reaches_without_knowing_of_any(trained, mount, tmp_path):
    reached = {}
    for adaptive in (True, False):
        report = mount(
            trained(defense=RULES), [LeastSquares(adaptive=adaptive)], tiers=[1, 2], out=tmp_path / f"{adaptive}"
        )
        reached[adaptive] = {r.tier: r.value for r in report.results if r.metric == "mse"}
    assert reached[True][1] == reached[False][1]
    assert reached[True][2] != reached[False][2]


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_where_clients_of_a_tier_differ_those_are_attacked_at_whom_the_fewest_defenses_act(shown, opened, drift):
    values = {"profiles": PROFILES, "clients": 6, "drift_share": drift, "drift_every": 1}
    rules = ["laplace-noise:sd=5@profile=phone", "gaussian-noise:sd=3@tier<=2&profile=laptop"]
    rules += ["update-noise:sd=1@profile=laptop"]
    found, report = shown(defense=rules, attacked={"tiers": "all"}, **values)
    run = opened(defense=rules, **values)
    profiles = {task.client: task.profile for task in run.tasks}
    assert profiles == {client: profile_in(run, client, 2) for client in profiles}
    for one in found.values():
        assert one["names"] == []
        assert {profiles[client] for client in one["clients"]} == {"desktop"}
    assert any("of profile desktop: not defended at this tier" in line for line in report.remarks)


def test_with_no_bare_client_in_a_tier_the_shadow_releases_are_those_of_the_clients_that_are_attacked(shown):
    rules = ["laplace-noise:sd=5@profile=phone", "gaussian-noise:sd=3@profile=laptop", "dropout@profile=laptop"]
    found, _ = shown(defense=rules, attacked={"tiers": [1]}, profiles=PROFILES[:2], clients=4)
    assert found[1]["names"] == ["laplace-noise"]
    assert not torch.equal(found[1]["releases"][True], found[1]["releases"][False])


def test_recorded_rounds_are_attacked_through_what_acted_in_them(shown):
    values = {"profiles": PROFILES[:2], "clients": 4, "record_rounds": [1], "scheduler": "static:m=2"}
    found, _ = shown(defense=["laplace-noise:sd=5@profile=phone"], **values)
    (one,) = found.values()
    assert one["names"] == []
    assert len(one["clients"]) == 2


def test_the_cache_tells_one_rule_from_another(trained, objects, tmp_path):
    keys = []
    for rule in ("tier<=2", "tier<=1"):
        run = open_run(trained(defense=[f"laplace-noise:sd=5@{rule}"]), objects=RunObjects(**objects))
        keys.append(plan_attack(run, AttackConfig(threads=1), [LeastSquares()], tmp_path).cache._basis)
    assert keys[0]["config"] != keys[1]["config"]


def test_a_malicious_server_gets_what_acts_in_the_tier_that_it_names(trained, mount):
    """Who names another tier decides with it whether a rule holds."""

    @dataclass(frozen=True, kw_only=True)
    class Renames(Looks):
        facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"chooses-tier"}, recipe="")

        def tamper(self, view):
            return Tampering(tier=1, weights={})

    Looks.found.clear()
    mount(trained(defense=RULES), [Renames()], tiers=[2], adversary="server-malicious")
    (one,) = Looks.found
    assert one["names"] == []
    assert torch.equal(one["releases"][True], one["releases"][False])
