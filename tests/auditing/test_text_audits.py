"""Audits of a run on texts, by the plain command's settings: checks, verdicts, words, and the texts in the report."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from text_runs import words

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, TokenReconstruction
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacks.shared import token_training
from dtfl_private.attacks.token_lookup import TokenLookup
from dtfl_private.auditing import random_check, written_audit
from dtfl_private.auditing.audit_config import OF_TEXTS, make_audit_config
from dtfl_private.auditing.runner import audit
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.report.html import page
from dtfl_private.report.words.headline import headline
from dtfl_private.verdicts.findings_file import read_findings

SEES = frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"})
QUICKLY = {"victims": 40, "seeds": 1, "workers": 1, "device": "cpu", "tiers": (1, 2)}


@dataclass(frozen=True, kw_only=True)
class Told(TokenReconstruction):
    """One that knows the victims' texts, whatever is sent: what no adversary can."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="it is told", inputs=ONLY_TOKENS)

    texts: tuple[tuple[int, ...], ...] = field(repr=False)

    def tokens(self, view):
        return torch.tensor(self.texts)[: view.victims]


@pytest.fixture(scope="module")
def audit_of(text_run, tmp_path_factory):
    def run(attacks=None, **values):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(OF_TEXTS, "quick", ("token-lookup", "token-inverter:size=small,steps=4"))
            patch.setattr(token_training, "FEWEST_RELEASED", 64)
            patch.setattr(attacking, "save_pictures", lambda *_: [])
            patch.setattr(written_audit, "audit_pictures", lambda _: {})
            for picture in ("by_tier_picture", "accuracy_leakage_picture", "by_client_picture"):
                patch.setattr(page, picture, lambda *_, **__: b"<svg/>")
            config = make_audit_config(**{**QUICKLY, **values})
            out = tmp_path_factory.mktemp("audit") / "audit"
            return audit(text_run, config, attacks=attacks, out=out, dataset=words())

    return run


@pytest.fixture(scope="module")
def plain(audit_of):
    return audit_of()


def test_the_attacks_of_a_preset_are_those_on_texts_and_what_is_left_out_is_said(plain):
    findings = plain.findings
    assert findings == read_findings(plain.path)
    assert {r.source for r in findings.results if r.adversary} == {"token-lookup", "token-inverter"}
    assert findings.settings["steps"] == "token-inverter (steps=4)"
    left_out = {one.what: one.why for one in findings.not_tested}
    assert left_out["labels of texts"] == "no preset has the attacks on these; --attack mounts single ones"
    why = "not asked for: --preset thorough has them all, --attack single ones"
    assert left_out["token-search, membership-matching, token-occurrence"] == why
    assert any("these measures are of images" in why for why in left_out.values())
    assert not any("hybrid" in one.what for one in findings.not_tested)
    assert "labelled texts to train on" in findings.auxiliary
    assert (findings.convergence.metric, findings.convergence.psnr) == ("token-accuracy", None)
    assert {one.metric for one in findings.by_client} == {"token-accuracy"}
    assert {client.metric for client in findings.clients} == {"token-accuracy"}


def test_texts_must_come_back_undefended_at_md1_and_not_from_random_numbers(plain):
    checks = {check.name: check for check in plain.findings.sanity}
    assert checks.keys() == {"md1", "random"}
    assert all(check.passed and check.metric == "token-accuracy" for check in checks.values())
    assert checks["md1"].value == 1.0
    assert checks["random"].value < checks["random"].needed < 1


def test_verdicts_and_headline_are_about_texts(plain):
    findings = plain.findings
    first, second = findings.verdict
    assert (first.level, first.strongest.metric) == ("exposed", "token-accuracy")
    assert first.sentence.startswith(
        "The strongest attack, token-lookup, reads texts back with a share of 1.000 (1.000 to 1.000) of their tokens"
    )
    assert "rebuilds texts of which 0." in first.sentence
    assert second.level == "not shown to leak"
    top = headline(findings)
    assert top.main == "From what a client of tier 1 sends, the server rebuilds its texts almost perfectly."
    assert top.sure.startswith("Measured on 40 texts in each tier by 2 attacks")
    assert "image" not in " ".join([top.main, *top.also, top.sure, *top.details, first.sentence, second.sentence])


def test_the_report_shows_texts_with_what_was_read_of_them(plain):
    shown = plain.findings.texts
    assert [(one.tier, one.place) for one in shown] == [(tier, place) for tier in (1, 2) for place in (1, 2, 3)]
    best = shown[0]
    assert best.guesses[0].source == "token-lookup"
    assert [guess.trivial for guess in best.guesses] == [False, False, True]
    assert best.guesses[0].pieces == best.pieces
    assert best.guesses[0].accuracy == 1
    assert best.wrong[0] == ()
    assert set(best.pieces) <= {*"<>b", "fox", "dog", "cat", "owl", "saw", "met", "the"}  # padding is left out
    assert {one.label for one in shown} <= {"saw", "met"}
    text = plain.report.read_text()
    assert "Texts that were read" in text
    assert "<span>fox</span>" in text or '<span class="wrong">fox</span>' in text
    wrong = sum(len(places) for one in shown for places in one.wrong)
    assert text.count('class="wrong">') == wrong + 1  # one is an example
    assert wrong > 0


def test_an_attack_that_reads_texts_where_there_are_none_makes_an_audit_invalid(audit_of, text_run):
    done = audit_of([Told(texts=truth_of(text_run))], tiers=(1,))
    checks = {check.name: check for check in done.findings.sanity}
    assert (checks["md1"].passed, checks["random"].passed) == (True, False)
    assert not done.findings.valid
    assert "An attack read more than a guess would where there was nothing to read." in headline(done.findings).sure


def truth_of(text_run) -> tuple[tuple[int, ...], ...]:
    """Return the victims' texts."""
    opened = open_run(text_run, objects=RunObjects(dataset=words()))
    config = make_attack_config(victims=QUICKLY["victims"], seeds=1, tiers=(1,))
    plan = plan_attack(opened, config, [TokenLookup()], text_run.path / "unused")
    return tuple(map(tuple, plan.rounds.of(plan.jobs[0], None).victims.truth.tolist()))


def test_random_numbers_keep_what_shows_of_lengths():
    smashed = torch.randn(4, 5, 300, generator=torch.Generator().manual_seed(0)) * 3 + 1
    smashed[0, 2:] = 0
    batch = SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=torch.zeros(4, dtype=torch.int64))
    drawn = random_check._random_batch(batch).smashed
    assert torch.equal((drawn == 0).all(dim=-1), (smashed == 0).all(dim=-1))
    real = (smashed != 0).any(dim=-1)
    assert drawn[real].mean() == pytest.approx(float(smashed[real].mean()), abs=0.3)
    assert drawn[real].std() == pytest.approx(float(smashed[real].std()), rel=0.1)
    # Nothing of the data is left in them: of independent numbers, one in 10^9 correlates so.
    assert abs(float(torch.corrcoef(torch.stack([drawn[real].flatten(), smashed[real].flatten()]))[0, 1])) < 0.1
