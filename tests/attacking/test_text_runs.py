"""Attacks on a run on texts: what they see, what is refused, how they are scored and what is cached."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from attack_reports import Heard
from text_runs import words

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, TokenReconstruction
from dtfl_private.attacking.knowledge import adversary_data
from dtfl_private.attacking.knowledge.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.runner import attack
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacks.token_inverter import TokenInverter
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.leakage.token_baselines import ATTAINABLE, TOKEN_BASELINES

SEES = frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"})


@dataclass(frozen=True, kw_only=True)
class Reads(TokenReconstruction):
    """Guess what a test says."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="by what it is told", inputs=ONLY_TOKENS)

    change: str = "none"

    def tokens(self, view):
        assert view.auxiliary.images.dtype == torch.int64
        assert view.vocabulary == words().tokens
        guess = torch.zeros(view.victims, *view.input_shape, dtype=torch.int64)
        match self.change:
            case "type":
                return guess.float()
            case "number":
                return guess + view.vocabulary.numbers
            case "negative":
                return guess - 1
            case "shape":
                return guess[:, 1:]
        return guess


@pytest.fixture
def mount_on_texts(text_run, tmp_path):
    def run(*attacks, callbacks=(), out=tmp_path / "out", **values):
        config = make_attack_config(**{"victims": 16, "seeds": 1, "threads": 1, **values})
        return attack(text_run, config, attacks=attacks or None, out=out, dataset=words(), callbacks=callbacks)

    return run


@pytest.fixture(scope="module")
def opened_texts(text_run):
    return open_run(text_run, objects=RunObjects(dataset=words()))


def test_by_default_tokens_are_looked_up_and_every_score_stands_beside_trivial_texts(mount_on_texts, monkeypatch):
    monkeypatch.setattr(TokenInverter, "normal_steps", {"steps": 2})
    report = mount_on_texts(tiers=(1, 2))
    assert {r.source for r in report.results if r.adversary} == {"token-lookup", "token-inverter"}
    found = {(r.tier, r.metric): r for r in report.results if r.source == "token-lookup"}
    assert {metric for _, metric in found} == {"token-accuracy", "rouge-l", "exact-sequences", "identifiability"}
    own = found[1, "token-accuracy"]
    assert (own.value, own.n, own.seeds) == (1.0, 16, 1)
    assert own.baseline_name in ATTAINABLE
    assert own.baseline < 0.9
    assert own.advantage == pytest.approx(1 - own.baseline)
    assert own.advantage_ci_low > 0
    assert own.p_value < 0.01
    assert found[1, "exact-sequences"].value == found[1, "rouge-l"].value == 1
    assert found[2, "token-accuracy"].value < 1
    guesses = {r.source for r in report.results if r.adversary is None}
    assert guesses == TOKEN_BASELINES.keys()
    written = json.loads(report.path.read_bytes())
    assert written["victims"] == 16
    assert any(line.startswith("attacked: 16 texts of round 1") for line in report.remarks)
    text, read = report.remarks[:2]  # of the attack that is named first
    assert text.startswith("tier 1, a text as half are read better: the ")
    assert read == f"token-lookup reads: {text.partition('better: ')[2]}"
    assert "token-accuracy-by-tier.png" in {path.name for path in report.pictures}


def test_an_adversary_without_texts_looks_tokens_up_by_default(mount_on_texts):
    report = mount_on_texts(tiers=(1,), aux="architecture")
    assert {r.source for r in report.results if r.adversary} == {"token-lookup"}


def test_a_second_call_finds_the_guess(mount_on_texts):
    first, heard = mount_on_texts(tiers=(1,), attacks=("token-lookup",)), Heard()
    second = mount_on_texts(tiers=(1,), attacks=("token-lookup",), callbacks=[heard])
    assert heard.kept == [True]
    assert second.results == first.results


def test_attacks_on_images_are_refused_by_name(mount_on_texts):
    with pytest.raises(InputError, match=r"^decoder attacks images; this run's inputs are sequences of tokens$"):
        mount_on_texts(attacks=("decoder",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("type", "returned tokens of type torch.float32, expected torch.int64"),
        ("number", r"returned tokens 50..50, expected 0..49"),
        ("negative", r"returned tokens -1..-1, expected 0..49"),
        ("shape", r"returned \(16, 7\), expected finite values \(16, 8\)"),
    ],
)
def test_a_guess_that_is_no_text_ends_the_attack(mount_on_texts, change, says):
    with pytest.raises(RunError, match=f"attack 'reads' {says}"):
        mount_on_texts(Reads(change=change), tiers=(1,))


def test_guessing_padding_everywhere_scores_nothing(mount_on_texts):
    report = mount_on_texts(Reads(), tiers=(1,))
    scores = {r.metric: r.value for r in report.results if r.source == "reads"}
    assert {scores[name] for name in ("token-accuracy", "rouge-l", "exact-sequences")} == {0.0}


def test_other_texts_must_have_the_same_tokens(opened_texts, monkeypatch, patterns):
    knowledge = Knowledge.parse("shifted:others")

    def split(other):
        monkeypatch.setattr(adversary_data, "load_dataset", lambda *_, **__: other)
        return split_auxiliary(opened_texts, knowledge, 20)

    monkeypatch.setattr(adversary_data, "named_object", lambda *_: ())
    with pytest.raises(InputError, match="'others' has other tokens than"):
        split(replace(words(), vocabulary=60, tokenizer=None))
    with pytest.raises(InputError, match=r"has images of shape \(1, 8, 8\), the clients sequences of tokens of \(8,\)"):
        split(patterns)
    fresh = words().train_images.flip(0).flip(1)
    found = split(replace(words(), train_images=fresh)).auxiliary
    assert found.images.dtype == torch.int64
    assert len(found.images) > 0


def test_what_numbers_mean_is_asked_of_texts_alone(opened_texts, opened):
    assert opened_texts.vocabulary == words().tokens
    assert opened().vocabulary is None
