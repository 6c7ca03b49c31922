"""Audits of tiny runs: what they write, what they reuse, when they fail."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from audit_progress import HeardJobs
from fast_attacks import SEES, Blind, LeastSquares

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.errors import GateCrossedError, InputError, RunError
from dtfl_private.leakage.baselines import BASELINES
from dtfl_private.plugins.registry import create
from dtfl_private.report.words.audit import fell_back_text
from dtfl_private.verdicts.findings_file import read_findings


@dataclass(frozen=True, kw_only=True)
class Crashing(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="crashes at tier 2")

    def reconstruct(self, view):
        if view.tier == 2:
            raise ZeroDivisionError("of its own making")
        return LeastSquares().reconstruct(view)


@dataclass(frozen=True, kw_only=True)
class ClassMean(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="the mean image of the victim's class")

    def reconstruct(self, view):
        known, labels = view.auxiliary, torch.cat([batch.labels for seen in view.seen for batch in seen.batches])
        return torch.stack([known.images[known.labels == label].mean(dim=0) for label in labels])


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
    assert (done.findings.convergence.tier, done.findings.convergence.attack) == (3, done.findings.verdict[2].attack)
    assert done.findings.chance.tests == len(judged) > 0
    assert {result.metric for result in judged} >= {"mse", "psnr", "ssim", "identifiability"}
    assert done.findings == read_findings(done.path)
    assert done.report.read_text().startswith("<!DOCTYPE html>")
    assert all(path.read_bytes() == b"a picture" for path in done.pictures)


def test_a_second_audit_repeats_nothing_and_finds_the_same(trained, examine):
    few = {"tiers": (1, 3), "seeds": 1}
    first = examine(trained(), **few)
    heard = HeardJobs()
    second = examine(trained(), callbacks=[heard], **few)
    assert [label for label, kept in heard.kept.items() if not all(kept)] == []
    assert first.findings == second.findings


def test_an_attack_that_fails_where_nothing_is_hidden_ends_the_audit_at_once(trained, examine):
    heard = HeardJobs()
    done = examine(trained(), [Blind()], callbacks=[heard])
    assert list(heard.kept) == ["blind, sanity check on the identity"]
    findings = done.findings
    assert not findings.valid
    assert [(check.name, check.passed) for check in findings.sanity] == [("identity", False)]
    assert (findings.verdict, findings.results, findings.convergence) == ((), (), None)
    (left_out,) = findings.not_tested
    assert "attacks at every tier" in left_out.what
    assert findings == read_findings(done.path)
    text = done.report.read_text()
    assert "identity: blind reached SSIM" in text
    assert "What to try</dt><dd>more effort" in text
    assert "attacked in each tier" not in text
    with pytest.raises(GateCrossedError, match="the audit is invalid"):
        examine(trained(), [Blind()], fail_if=["ssim>2"])


def test_an_attack_that_returns_a_trivial_guess_is_said_to_have_fallen_back(trained, examine):
    findings = examine(trained(), [LeastSquares(), ClassMean()], tiers=(1,)).findings
    assert fell_back_text(findings).startswith("class-mean in tier 1 to ")


def test_a_decoder_that_noise_leaves_nothing_is_said_to_have_fallen_back(trained, examine):
    decoder, noise = Decoder(size="small", steps=5), [create("defense", "gaussian-noise:sd=1000")]
    short = {"tiers": (1,), "seeds": 1, "by_client": "off", "undefended": "none"}
    done = examine(trained(defenses=noise), [LeastSquares(), decoder], defenses=noise, **short)
    said = fell_back_text(done.findings)
    assert said.startswith("decoder in tier 1 to ")
    assert "Fell back to a trivial guess: decoder in tier 1 to " in done.report.read_text()


def test_a_crash_fails_the_audit_and_keeps_what_was_finished(trained, examine, tmp_path):
    few = {"tiers": (1, 2), "seeds": 1}
    with pytest.raises(
        RunError, match=r"attack crashing, tier 2, seed 0 crashed: ZeroDivisionError: of its own making"
    ):
        examine(trained(), [LeastSquares(), Crashing()], **few)
    assert not (tmp_path / "audit" / "audit.json").exists()
    heard = HeardJobs()
    examine(trained(), [LeastSquares()], callbacks=[heard], **few)
    assert heard.kept["least-squares, tier 1, seed 0"][0]


def test_gates_are_read_before_any_work_and_judged_after_it(trained, examine, tmp_path):
    with pytest.raises(InputError, match=r"sim>0\.5"):
        examine(trained(), fail_if=["sim>0.5"])
    assert not (tmp_path / "audit").exists()
    with pytest.raises(GateCrossedError, match=r"gate psnr>1@tier<=2 crossed: tier 1, least-squares"):
        examine(trained(), fail_if=["psnr>1@tier<=2"], seeds=1)
    assert (tmp_path / "audit" / "audit.json").is_file()
    examine(trained(), fail_if=["psnr>400"], seeds=1)


def test_another_run_is_audited_once_and_compared(trained, examine):
    plain, noise = trained(), [create("defense", "gaussian-noise:sd=5.0")]
    folder = trained(defenses=noise)
    quickly = {"defenses": noise, "compare": plain, "tiers": (1,), "seeds": 1}
    compared = examine(folder, **quickly).findings.compared
    assert compared.run == str(plain)
    first = next(row for row in compared.rows if row.metric == "mse" and row.tier == 1)
    assert first.apart
    assert first.this.value > first.other.value
    card = (plain / "README.md").read_text("utf-8")  # of a run that is audited in its own folder
    assert "No audit of this run is known" not in card
    assert "Clients' records are" in card
    written = (plain / "audit" / "audit.json").stat().st_mtime_ns
    examine(folder, **quickly)
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
