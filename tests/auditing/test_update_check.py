"""Audits of runs whose clients send the update of the whole network alone."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from fast_attacks import LeastSquares

from dtfl_private.attacking.base import AttackFacts, LabelInference, Reconstruction
from dtfl_private.attacks import update_inversion
from dtfl_private.auditing import update_check as checking
from dtfl_private.auditing.update_check import update_check, update_check_attacks
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.findings_file import read_findings

ONE_STEP = {"method": "fedavg", "optimizer": "sgd", "lr": 0.05, "batch_size": 64, "max_train_images": 24, "rounds": 1}
NEEDS = frozenset({"architecture", "client-weights", "updates"})


@dataclass(frozen=True, kw_only=True)
class Grey(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=NEEDS, recipe="", whole=True)

    def reconstruct(self, view):
        return torch.full((view.victims, *view.input_shape), 0.5)


@dataclass(frozen=True, kw_only=True)
class Moved(Reconstruction):
    """An even image for each record, by how far the client's weights have moved: it reads each update, and is fast."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=NEEDS, recipe="", whole=True)

    def reconstruct(self, view):
        rows = []
        for seen, update in view.updates:
            sent, returned = seen.download.weights, update.weights
            weights = [name for name in sent if sent[name].is_floating_point()]
            moved = max((returned[name] - sent[name]).abs().max() for name in weights).clamp(max=1)
            assert moved > 0
            rows.append(moved.expand(seen.records, *view.input_shape))
        return torch.cat(rows)


@dataclass(frozen=True, kw_only=True)
class Even(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=NEEDS, recipe="", whole=True)

    def infer(self, view):
        return torch.arange(view.victims) % view.classes


def test_one_step_of_adam_gives_its_record_away_where_the_hold_on_auxiliary_images_fades(
    opened, plan, tmp_path, monkeypatch
):
    run = opened(**ONE_STEP)
    worker = replace(run.prepared.worker, optimizer=replace(run.prepared.worker.optimizer, name="adam"))
    by_adam = replace(run, prepared=replace(run.prepared, worker=worker))
    audit = plan(by_adam, [Even()])
    (fallback,) = update_check_attacks(audit)
    attacks = [replace(fallback, steps=200)]
    check = update_check(audit, attacks, Callback())
    assert (check.name, check.attack, check.needed) == ("update", "update-inversion", 0.9)
    assert check.passed
    monkeypatch.setattr(update_inversion, "LIKENESS_LEFT", 1.0)
    held = update_check(plan(by_adam, [Even()], folder=tmp_path / "held"), attacks, Callback())
    assert held.value < check.value - 0.03


def test_an_audit_whose_attacks_do_not_get_it_back_is_invalid(trained, examine):
    findings = examine(trained(**ONE_STEP), [Grey()]).findings
    assert [(check.name, check.passed) for check in findings.sanity] == [("update", False)]
    assert not findings.valid
    assert not findings.verdict
    (left,) = findings.not_tested
    assert "the sanity check on the update failed" in left.why


def test_an_audit_of_updates_alone_has_its_verdict(trained, examine, monkeypatch):
    monkeypatch.setattr(checking, "UPDATE_SSIM", -1.0)
    attacks = [Moved(), Even(), LeastSquares()]
    done = examine(trained(**ONE_STEP), attacks, seeds=1)
    findings = done.findings
    assert [check.name for check in findings.sanity] == ["update"]
    (verdict,) = findings.verdict
    assert verdict.tier == 4
    assert verdict.level != "invalid"
    by_metric = {result.metric: result for result in findings.results if result.adversary}
    assert by_metric["accuracy"].baseline_name == "label-shares"
    assert not any(result.source == "constant" for result in findings.results)
    said = {one.what: one.why for one in findings.not_tested}
    assert "not made for clients that train the whole network" in said["least-squares at tier 4"]
    assert "smashed data" in said["measures at tier 4"]
    assert "least-squares" not in {result.source for result in findings.results}


@pytest.mark.parametrize("method", ["fedprox:mu=0.1", "tifl", "fedyogi", "fedadam"])
def test_every_method_whose_clients_send_updates_alone_can_be_audited(method, trained, examine, monkeypatch):
    monkeypatch.setattr(checking, "UPDATE_SSIM", -1.0)
    attacks = [Moved(), Even()]
    done = examine(trained(**{**ONE_STEP, "method": method, "max_train_images": 12}), attacks, seeds=1)
    found = read_findings(done.path)
    assert [(check.name, check.passed) for check in found.sanity] == [("update", True)]
    assert found.valid
    assert [verdict.tier for verdict in found.verdict] == [4]
    assert {result.source for result in found.results if result.adversary} == {"moved", "even"}
    (threat,) = found.threat_model
    assert "the weight update of each single client" in threat.capabilities
    assert method.partition(":")[0] in done.report.read_text("utf-8")


def test_the_tier_of_the_whole_network_is_audited_with_the_cuts(trained, examine, monkeypatch):
    monkeypatch.setattr(checking, "UPDATE_SSIM", -1.0)
    folder = trained(method="dtfl-full", scheduler="static:4", optimizer="sgd", max_train_images=24, rounds=1)
    findings = examine(folder, [Moved(), LeastSquares()], seeds=1, tiers=(1, 4)).findings
    assert {check.name for check in findings.sanity} == {"identity", "update", "md1"}
    assert [verdict.tier for verdict in findings.verdict] == [1, 4]
    assert {result.tier for result in findings.results if result.source == "least-squares"} == {1}
    assert {result.tier for result in findings.results if result.source == "constant"} == {1}
    assert {4} <= {result.tier for result in findings.results if result.source == "moved"}
