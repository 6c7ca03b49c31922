"""Audits of tiny runs: what they write, what they reuse, when they fail."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from fast_attacks import SEES, Blind, LeastSquares

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.auditing import audit_plan as planning
from dtfl_private.auditing import identity_check, measuring, shallowest_check
from dtfl_private.auditing import runner as auditing
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.runner import audit
from dtfl_private.errors import GateCrossedError, InputError, RunError
from dtfl_private.leakage.baselines import BASELINES
from dtfl_private.leakage.measures.base import Figure
from dtfl_private.plugins.registry import create
from dtfl_private.runtime.progress import Progress
from dtfl_private.verdicts.findings import read_findings

QUICKLY = {"victims": 8, "aux_images": 60, "seeds": 2, "measured": 100, "workers": 1, "device": "cpu"}


@dataclass(frozen=True)
class Constant:
    """A measure that takes no time."""

    def figures(self, release):
        return [Figure(metric="effective-rank", value=float(release.releases), low=0.0, high=99.0, n=release.records)]

    def remarks(self, release):
        return [f"{release.records} records were enough"]


@dataclass(frozen=True, kw_only=True)
class Crashing(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="crashes at tier 2")

    def reconstruct(self, view):
        if view.tier == 2:
            raise ZeroDivisionError("of its own making")
        return LeastSquares().reconstruct(view)


class Heard(Progress):
    """Keeps what it hears."""

    def __init__(self):
        self.expected, self.kept, self.announced, self.running = 0, {}, [], set()

    def jobs_expected(self, count):
        self.expected += count

    def jobs_announced(self, jobs, steps=()):
        self.announced += jobs

    def job_started(self, job):
        assert job not in self.running
        self.running.add(job)

    def job_finished(self, job, *, cached=False, error=None):
        self.running.remove(job)
        self.kept.setdefault(job, []).append(cached)


@pytest.fixture
def examine(objects, tmp_path, monkeypatch):
    """Audit a run without pictures, with one measure that takes no time: ``examine(run, attacks, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    monkeypatch.setattr(auditing, "audit_pictures", lambda _: {"leakage.png": b"a picture"})
    # Least squares gets images back well, but not well enough for the real limits.
    monkeypatch.setattr(identity_check, "IDENTITY_SSIM", 0.5)
    monkeypatch.setattr(shallowest_check, "SHALLOWEST_SSIM", 0.6)
    for module in (planning, measuring):
        monkeypatch.setattr(module, "MEASURES", {"constant": Constant()})

    def run(folder, attacks=None, *, defenses=None, listener=None, fail_if=(), compare=None, out=None, **values):
        config = AuditConfig.model_validate({**QUICKLY, **values})
        return audit(
            folder,
            config,
            attacks=attacks or [LeastSquares()],
            out=out or tmp_path / "audit",
            listener=listener,
            fail_if=fail_if,
            compare=compare,
            defenses=defenses,
            **objects,
        )

    return run


def test_an_audit_leaves_what_the_interface_promises(trained, examine):
    done = examine(trained(), [LeastSquares(), Blind()])
    document = json.loads(done.path.read_bytes())
    assert {"schema_version", "run", "threat_model", "victims", "aux", "results", "verdict"} <= document.keys()
    assert document["victims"] == 8
    keys = {"tier", "cut", "source", "metric", "value", "ci_low", "ci_high", "baseline", "undefended", "n", "seeds"}
    assert all(keys | {"adaptive"} <= result.keys() for result in document["results"])
    assert [verdict["tier"] for verdict in document["verdict"]] == [1, 2, 3]
    assert {verdict["attack"] for verdict in document["verdict"]} == {"least-squares"}
    assert {result["source"] for result in document["results"]} >= {*BASELINES, "constant", "blind"}
    judged = [result for result in done.findings.results if result.adversary and result.p_value is not None]
    assert done.findings.chance.tests == len(judged) > 0
    assert {result.metric for result in judged} >= {"mse", "psnr", "ssim", "identifiability"}
    assert done.findings == read_findings(done.path)
    assert done.report.read_text().startswith("<!DOCTYPE html>")
    assert all(path.read_bytes() == b"a picture" for path in done.pictures)


def test_a_second_audit_repeats_nothing_and_finds_the_same(trained, examine):
    first = examine(trained())
    heard = Heard()
    second = examine(trained(), listener=heard)
    assert [label for label, kept in heard.kept.items() if not all(kept)] == []
    assert first.findings == second.findings


def test_the_progress_expects_as_many_jobs_as_there_are(trained, examine):
    noise = [create("defense", "gaussian-noise:sd=0.1")]
    for settings in ({}, {"defenses": noise}):
        heard = Heard()
        examine(trained(**settings), listener=heard, out=trained(**settings) / "watched", **settings)
        done = sum(map(len, heard.kept.values()))
        assert not heard.running
        assert heard.expected == len(heard.announced) == done


def test_a_defended_run_is_compared_with_the_undefended_one_which_is_trained_once(trained, examine, tmp_path):
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    folder = trained(defenses=noise)
    done = examine(folder, defenses=noise)
    undefended = tmp_path / "audit" / "undefended"
    rounds = (undefended / "rounds.jsonl").stat().st_mtime_ns
    found = {(r.tier, r.metric): r for r in done.findings.results if r.source == "least-squares"}
    assert found[1, "mse"].undefended < found[1, "mse"].value
    assert done.findings.training.undefended_accuracy == pytest.approx(
        json.loads((undefended / "summary.json").read_text())["final_accuracy"]
    )
    measured = [result for result in done.findings.results if result.source == "constant"]
    assert len(measured) == 3
    assert all(result.undefended is not None for result in measured)
    examine(folder, defenses=noise)
    assert (undefended / "rounds.jsonl").stat().st_mtime_ns == rounds


def test_an_attack_that_fails_where_nothing_is_hidden_makes_the_audit_invalid(trained, examine):
    findings = examine(trained(), [Blind()]).findings
    assert not findings.valid
    assert {check.name: check.passed for check in findings.sanity} == {"identity": False, "md1": False}
    assert {verdict.level for verdict in findings.verdict} == {"invalid"}
    with pytest.raises(GateCrossedError, match="the audit is invalid"):
        examine(trained(), [Blind()], fail_if=["ssim>2"])


def test_sanity_is_checked_at_md1_even_if_it_is_not_audited(trained, examine):
    findings = examine(trained(), tiers=(3,), seeds=1).findings
    assert {check.name for check in findings.sanity} == {"identity", "md1"}
    assert {result.tier for result in findings.results} == {3}


def test_md1_is_checked_without_an_undefended_run_too(trained, examine):
    noise = [create("defense", "gaussian-noise:sd=50.0")]
    findings = examine(trained(defenses=noise), defenses=noise, undefended="none", tiers=(1,)).findings
    assert findings.training.undefended_accuracy is None
    own = max(r.value for r in findings.results if (r.metric, r.source) == ("ssim", "least-squares"))
    (check,) = [check for check in findings.sanity if check.name == "md1"]
    assert check.value > own
    assert {"the run without defenses", "statistics of the images"} <= {one.what for one in findings.not_tested}
    assert "statistics" in {said.what for said in findings.guarantees}


def test_a_crash_fails_the_audit_and_keeps_what_was_finished(trained, examine, tmp_path):
    with pytest.raises(
        RunError, match=r"attack crashing, tier 2, seed 0 crashed: ZeroDivisionError: of its own making"
    ):
        examine(trained(), [LeastSquares(), Crashing()])
    assert not (tmp_path / "audit" / "audit.json").exists()
    heard = Heard()
    examine(trained(), [LeastSquares()], listener=heard)
    assert heard.kept["least-squares, tier 1, seed 0"][0]


def test_gates_are_read_before_any_work_and_judged_after_it(trained, examine, tmp_path):
    with pytest.raises(InputError, match=r"sim>0\.5"):
        examine(trained(), fail_if=["sim>0.5"])
    assert not (tmp_path / "audit").exists()
    with pytest.raises(GateCrossedError, match=r"gate psnr>1@tier<=2 crossed: tier 1, least-squares"):
        examine(trained(), fail_if=["psnr>1@tier<=2"])
    assert (tmp_path / "audit" / "audit.json").is_file()
    examine(trained(), fail_if=["psnr>400"])


def test_another_run_is_audited_once_and_compared(trained, examine):
    plain, noise = trained(), [create("defense", "gaussian-noise:sd=5.0")]
    folder = trained(defenses=noise)
    compared = examine(folder, defenses=noise, compare=plain).findings.compared
    assert compared.run == str(plain)
    first = next(row for row in compared.rows if row.metric == "mse" and row.tier == 1)
    assert first.apart
    assert first.this.value > first.other.value
    written = (plain / "audit" / "audit.json").stat().st_mtime_ns
    examine(folder, defenses=noise, compare=plain)
    assert (plain / "audit" / "audit.json").stat().st_mtime_ns == written


def test_a_run_on_other_terms_is_refused_before_any_work(trained, examine, tmp_path):
    other = trained() / "audit" / "audit.json"
    if not other.is_file():
        examine(trained(), out=other.parent)
    document = json.loads(other.read_text())
    document["training"]["model"] = "resnet-8"
    strange = tmp_path / "strange"
    (strange / "audit").mkdir(parents=True)
    (strange / "audit" / "audit.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="resnet-8"):
        examine(trained(), compare=strange)
    assert not (tmp_path / "audit").exists()


def test_clients_are_exposed_by_where_they_really_were(trained, examine):
    folder = trained()
    findings = examine(folder).findings
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    for client in findings.clients:
        tiers = [record["tiers"][str(client.client)] for record in records if str(client.client) in record["tiers"]]
        assert client.releases == sum(client.by_tier.values()) == len(tiers)
        assert client.shallowest == min(tiers)
        best = {result.tier: result.value for result in findings.strongest if result.metric == client.metric}
        assert client.value == max(best[tier] for tier in tiers)
    used = set(records[-1]["tiers"].values())
    assert {result.tier for result in findings.as_scheduled} == used


def test_rounds_with_the_whole_network_expose_no_activations_and_are_named_as_not_tested(trained, examine):
    folder = trained(method="dtfl-full", scheduler="random", rounds=4)
    findings = examine(folder).findings
    assert findings.training.tiers == (1, 2, 3)
    assert {verdict.tier for verdict in findings.verdict} == {1, 2, 3}
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert any(4 in tiers.values() for tiers in rounds)
    for client in findings.clients:
        cut = [tiers[str(client.client)] for tiers in rounds if tiers[str(client.client)] < 4]
        assert (client.rounds, client.releases) == (4, len(cut))
        assert client.shallowest == min(cut, default=None)
    (told,) = [entry.why for entry in findings.not_tested if entry.what == "tier 4"]
    assert "no attack here is made for the weight update" in told
    assert {result.tier for result in findings.as_scheduled} == {tier for tier in rounds[-1].values() if tier < 4}


def test_several_trainings_are_pooled_by_their_envelope(trained, examine, tmp_path):
    findings = examine(trained(), training_seeds=2, tiers=(1,)).findings
    first, second = (
        next(r for r in examine_results(path) if (r["source"], r["metric"]) == ("least-squares", "mse"))
        for path in (tmp_path / "audit" / "attacks", tmp_path / "audit" / "seed-4" / "attacks")
    )
    both = next(r for r in findings.results if (r.source, r.metric) == ("least-squares", "mse"))
    assert both.value == pytest.approx((first["value"] + second["value"]) / 2)
    assert (both.ci_low, both.ci_high) == (
        min(first["ci_low"], second["ci_low"]),
        max(first["ci_high"], second["ci_high"]),
    )
    assert both.n == 8


def examine_results(folder):
    return json.loads((folder / "attack.json").read_text())["results"]
