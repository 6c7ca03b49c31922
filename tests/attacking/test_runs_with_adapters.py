"""Attacks and audits of runs on a frozen checkpoint: they see the client half whole, frozen base and adapters."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch
from text_runs import settings, words

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, TokenReconstruction
from dtfl_private.attacking.runner import attack
from dtfl_private.attacks.token_lookup import TokenLookup
from dtfl_private.auditing import written_audit
from dtfl_private.auditing.audit_config import make_audit_config
from dtfl_private.auditing.runner import audit
from dtfl_private.defenses.dp_weights import sampling_rate
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel, split
from dtfl_private.privacy.sampled_gaussian_epsilon import precise_epsilon
from dtfl_private.report.html import page
from tests.checkpoints import changed, checkpoint, merge_adapters

RANK, SCALE = 2, 2.0
SEES = frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"})
QUICKLY = {"victims": 16, "seeds": 1, "tiers": (1, 2)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    checkpoint(folder, "bert", vocab_size=words().vocabulary)
    return changed(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.fixture(scope="module")
def run_of(base, tmp_path_factory):
    def run(rank: int, **values: object):
        model = f"pretrained:path={base},cuts=all,lora={rank}"
        config = TrainConfig.model_validate(settings(model=model, optimizer="sgd", lr=0.1, **values))
        return train(config, out=tmp_path_factory.mktemp("frozen") / "run", dataset=words())

    return run


@pytest.fixture(scope="module")
def adapted(run_of):
    return run_of(RANK)


@dataclass(frozen=True, kw_only=True)
class Looks(TokenReconstruction):
    """Hand what is seen to a test, and guess nothing."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="it looks", inputs=ONLY_TOKENS)

    at: Callable[..., None] = field(repr=False)

    def tokens(self, view):
        self.at(view)
        return torch.zeros(view.victims, *view.input_shape, dtype=torch.int64)


def attacked(run, *attacks, tmp_path, **values):
    config = make_attack_config(**QUICKLY | {"threads": 1, "workers": 1, "device": "cpu"} | values)
    return attack(run.folder, config, attacks=attacks, out=tmp_path / "out", dataset=words())


def with_merged(base, state) -> StagedModel:
    """Return the checkpoint's own network, without adapters, with theirs in its weights."""
    text = f"pretrained:path={base},cuts=all"
    shape = tuple(words().train_images.shape[1:])
    model = build_model(text, input_shape=shape, classes=2, norm="batch", seed=0, tokens=words().tokens)
    merge_adapters(model, state, SCALE, transposed=False)
    return model.eval()


def test_the_adversary_has_the_client_half_whole_with_the_adapters_that_were_sent(adapted, base, tmp_path):
    looked = []

    def look(view):
        seen = view.seen[0]
        for more in (0.0, 0.3):  # adapters begin as nothing
            weights = {name: tensor + more for name, tensor in seen.download.weights.items()}
            program = view.program_with(replace(seen.download, weights=weights), adaptive=False)
            half = split(with_merged(base, weights), view.tier)[0]
            tokens = view.auxiliary.images[:4]
            torch.testing.assert_close(program.activations(tokens), half(tokens), rtol=0, atol=1e-5)
            looked.append(half(tokens))

    attacked(adapted, Looks(at=look), tmp_path=tmp_path, tiers=(2,))
    assert not torch.allclose(*looked, rtol=0, atol=1e-3)


@pytest.mark.parametrize("rank", [0, RANK])
def test_behind_frozen_embeddings_texts_are_read_back_exactly(rank, run_of, adapted, tmp_path):
    run = adapted if rank else run_of(0)
    report = attacked(run, TokenLookup(), tmp_path=tmp_path)
    found = {r.tier: r.value for r in report.results if (r.source, r.metric) == ("token-lookup", "token-accuracy")}
    assert found[1] == 1.0
    assert found[2] < 1.0


def test_an_audit_of_adapters_is_valid_and_finds_md1_exposed(adapted, tmp_path, monkeypatch):
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})
    for picture in ("by_tier_picture", "accuracy_leakage_picture", "by_client_picture"):
        monkeypatch.setattr(page, picture, lambda *_, **__: b"<svg/>")
    config = make_audit_config(**QUICKLY | {"tiers": (1,), "workers": 1, "device": "cpu"})
    findings = audit(adapted.folder, config, out=tmp_path / "audit", dataset=words()).findings
    assert findings.valid
    assert findings.verdict[0].level == "exposed"
    assert {check.name: check.value for check in findings.sanity}["md1"] == 1.0


def test_the_epsilon_of_dp_sgd_is_of_adapters_and_heads_alone(run_of):
    run = run_of(RANK, defense=["dp-weights:noise_multiplier=1"], norm="group")
    (weights,) = (one for one in run.summary["privacy"] if one["what"] == "weights")
    steps = (1.0, sampling_rate(20, 8), 3)  # 20 records of a client in batches of 8
    assert weights["epsilon"] == pytest.approx(precise_epsilon([steps], weights["delta"]))
    prepared = prepare(run.config, RunObjects(dataset=words()))
    (said,) = (note for note in prepared.notes if note.startswith("frozen: "))
    model = prepared.worker.model
    assert f" of the other {sum(p.numel() for p in model.parameters()):,} and of auxiliary heads alone" in said
    assert all(".lora_" in name or name.startswith("md4.fc.") for name, _ in model.named_parameters())
