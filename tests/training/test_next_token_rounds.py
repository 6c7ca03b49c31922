"""Next-token training in whole rounds, against plain loops, and what of it is refused."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from dtfl_private.attacking.runner import attack
from dtfl_private.auditing.runner import audit
from dtfl_private.choosing import tuning
from dtfl_private.data.dataset import TokenDataset
from dtfl_private.deployed.server.opening import open_run
from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.next_token_runs import require_no_record_labels
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.disclosure import TEXTS_SENT, TEXTS_STAY
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.report.tables.privacy import opening_lines
from examples.paper_pseudocode import batches, gap, step

SIZE, LENGTH = 7, 6
NETWORK = "transformer:task=next-token,depth=2,width=8,heads=2,dropout=0"


@pytest.fixture(scope="module")
def texts() -> TokenDataset:
    """36 training and 12 test texts of 1 to 6 tokens, of two classes."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(SIZE, (48, LENGTH), generator=generator)
    tokens[:, 1::2] = tokens[:, ::2] // 2  # so that there is something to be learnt
    lengths = torch.randint(1, LENGTH + 1, (48, 1), generator=generator)
    tokens = tokens.masked_fill(torch.arange(LENGTH) >= lengths, SIZE).to(torch.uint8)
    labels = torch.arange(48) % 2
    parts: dict[str, Any] = {"train_images": tokens[:36], "train_labels": labels[:36]}
    parts |= {"test_images": tokens[36:], "test_labels": labels[36:]}
    return TokenDataset(name="texts", source="", classes=("a", "b"), vocabulary=SIZE, padding=SIZE, **parts)


@pytest.fixture(scope="module")
def prepared(texts, tiny_config) -> Callable[..., Prepared]:
    def make(**values: Any) -> Prepared:
        config = tiny_config(
            model=NETWORK, **{"precision": "fp64", "clients": 1, "batch_size": 8, "lr": 0.02, **values}
        )
        return prepare(config, RunObjects(dataset=texts))

    return make


def loss_of(logits: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Return the loss by picking out the real places one by one."""
    rows = [
        (text, place) for text in range(len(texts)) for place in range(LENGTH - 1) if texts[text, place + 1] != SIZE
    ]
    picked = torch.stack([logits[row] for row in rows])
    return F.cross_entropy(picked, torch.tensor([int(texts[text, place + 1]) for text, place in rows]))


@pytest.mark.parametrize("method", ["splitfed-v1:cut=2", "u-shaped:cut=2", "fedavg", "centralised"])
def test_one_client_trains_as_the_whole_network_does_in_a_plain_loop(prepared, play, method):
    run = prepared(method=method)
    model = copy.deepcopy(run.worker.model).train()
    for number, (state, outcome) in enumerate(play(run, 2), start=1):
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for tokens, _ in batches(run.worker, 0, number):
            step(optimizer, loss_of(model(tokens), tokens))
        assert gap((state.weights.model, model.state_dict())) <= 1e-6
        assert outcome.perplexity == pytest.approx(math.exp(outcome.test_loss))
    tokens = run.worker.test_images.long()
    with torch.no_grad():
        logits = model.eval()(tokens)
    real = tokens[:, 1:] != SIZE
    right = (logits[:, :-1].argmax(dim=2) == tokens[:, 1:])[real]
    assert outcome.test_accuracy == pytest.approx(float(right.double().mean()))
    assert outcome.test_loss == pytest.approx(float(loss_of(logits, tokens)), abs=1e-6)


def test_dtfl_with_one_tier_trains_both_halves_apart(prepared, play):
    run = prepared(scheduler="static:2")
    model, head = copy.deepcopy(run.worker.model).train(), copy.deepcopy(run.worker.heads[2]).train()
    ((state, outcome),) = play(run)
    client = torch.optim.Adam([*model[:2].parameters(), *head.parameters()], 0.02)
    server = torch.optim.Adam(model[2:].parameters(), 0.02)
    for tokens, _ in batches(run.worker, 0, 1):
        smashed = model[:2](tokens)
        step(client, loss_of(head(smashed), tokens))
        step(server, loss_of(model[2:](smashed.detach()), tokens))
    assert gap((state.weights.model, model.state_dict()), (state.weights.heads[2], head.state_dict())) <= 1e-6
    assert outcome.traffic["up_labels"] == 36 * LENGTH * 8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"defense": ["label-rr:epsilon=1"]}, "label-rr cannot act in next-token training: it acts on one label for"),
        ({"defense": ["dp-weights:noise_multiplier=1"]}, "dp-weights cannot act .* a mean over the places of a batch"),
        ({"method": "splitfed-v1", "defense": ["gradient-scrutinizer"]}, "gradient-scrutinizer cannot act in next-"),
        ({"method": "fedgkt"}, "method fedgkt takes a label for each record, and next-token training has one at each"),
        ({"class_weights": "balanced"}, "class_weights balanced weighs classes, and next-token training has none"),
    ],
)
def test_what_takes_a_label_for_each_record_is_refused_by_name(prepared, values, said):
    with pytest.raises(InputError, match=said):
        prepared(**values)


@pytest.mark.parametrize("name", ["patch-shuffle", "batch-patch-shuffle", "token-shuffle", "micro-aggregation"])
def test_what_mixes_places_or_records_is_refused_also_where_nothing_is_padding(name):
    chain = DefenseChain([create("defense", name)])
    with pytest.raises(InputError, match=f"^{name} cannot act in next-token training: it (moves places|averages)"):
        require_no_record_labels(chain)


def test_every_other_defense_trains_or_is_refused(prepared, play):
    for name in sorted(installed("defense")):
        try:
            run = prepared(scheduler="static:2", defense=[name])
        except InputError:
            continue
        ((_, outcome),) = play(run)
        assert math.isfinite(outcome.test_loss), name


def test_a_run_says_that_its_labels_are_its_texts_and_is_not_audited(texts, tiny_config, tmp_path):
    config = tiny_config(model=NETWORK, rounds=1)
    run = train(config, dataset=texts, out=tmp_path / "run")
    line = json.loads((run.folder.rounds).read_text())
    assert line["test_perplexity"] == pytest.approx(math.exp(line["test_loss"]))
    assert run.summary["last_round"]["test_perplexity"] == line["test_perplexity"]
    card = run.folder.card.read_text()
    assert "says at each place of a text which token comes next" in card
    assert "all but the first token of each to the server in plain" in card
    for judge in (attack, audit):
        with pytest.raises(InputError, match="clients send all but the first token of each to the server in plain"):
            judge(run, dataset=texts)


@pytest.mark.parametrize("entered", [open_run, tuning._prepared])
def test_deployed_runs_and_searches_refuse_it(tiny_config, entered):
    with pytest.raises(InputError, match="next-token training is for train, sweep and plan"):
        entered(tiny_config(dataset="sentences", model=NETWORK, scheduler="dynamic"))


@pytest.mark.parametrize(
    ("method", "said"),
    [("dtfl", TEXTS_SENT), ("u-shaped", TEXTS_STAY), ("fedavg", None), ("centralised", None)],
)
def test_what_is_told_depends_on_what_is_sent(prepared, play, method, said):
    run = prepared(method=method)
    ((_, outcome),) = play(run)
    for told in ([entry["sentence"] for entry in outcome.privacy], opening_lines(run.settings.privacy, 1)):
        about = [line.removeprefix("privacy: ") for line in told if "next-token" in line]
        assert about == ([] if said is None else [said])
