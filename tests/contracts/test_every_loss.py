"""Weights of classes in the loss of every registered training method, and what each closes a run with."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.train import train
from dtfl_private.plugins.installed import installed
from dtfl_private.privacy.disclosure import CLASS_COUNTS
from dtfl_private.protocol.messages import ClassCounts
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.judging import JudgedImages, answers, judge
from dtfl_private.training.tasks import ImageRange

METHODS = list(installed("method"))
# Clients train by a loss of their own and the server by another: weights must reach both.
LOCAL = {"dtfl", "dtfl-full", "dtfl-shared", "local-loss", "fedgkt"}
SETTINGS = {"scheduler": "static:2", "fraction": 1.0, "batch_size": 8}


@pytest.fixture(scope="module")
def prepared(prepare_tiny) -> Mapping[str, Prepared]:
    return {name: prepare_tiny(method=name, **SETTINGS) for name in METHODS}


def weighing(run: Prepared, weights: list[float]) -> Prepared:
    """Return a run with these weights of the classes, and nothing else changed."""
    chain = run.worker.defense.weighing(torch.tensor(weights, dtype=torch.float64))
    return replace(run, worker=replace(run.worker, defense=chain))


def result_of(played) -> tuple[dict[str, torch.Tensor], list[Any]]:
    state, _ = played[-1]
    heads = {f"{tier}/{name}": t for tier, head in state.weights.heads.items() for name, t in head.items()}
    figures = [(o.local_loss, o.server_loss, o.test_loss) for _, o in played]
    return {**state.weights.model, **heads}, figures


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_one_change_nothing_bit_for_bit_and_others_change_every_half(prepared, play, name):
    run = prepared[name]
    played = play(run, 2)
    plain, figures = result_of(played)
    ones, same = result_of(play(weighing(run, [1.0, 1.0, 1.0]), 2))
    assert same == figures
    assert [key for key, tensor in plain.items() if not torch.equal(ones[key], tensor)] == []
    other, weighed = result_of(play(weighing(run, [3.0, 0.1, 1.0]), 1))
    once, before = result_of(played[:1])
    moved = {key for key, tensor in once.items() if "weight" in key and not torch.equal(other[key], tensor)}
    assert moved == {key for key in once if "weight" in key and (not key[0].isdigit() or key.startswith("2/"))}
    for part in (0, 1):
        changed = before[0][part] != weighed[0][part]
        assert changed == (before[0][part] is not None)
    assert (None in before[0]) == (name not in LOCAL)


@pytest.mark.parametrize("name", METHODS)
def test_balanced_weights_are_those_of_what_clients_sent_and_said_to_be_sent(prepare_tiny, play, name):
    run = prepare_tiny(method=name, class_weights="balanced", max_train_images=25, seed=2, **SETTINGS)
    worker = run.worker
    counts = torch.bincount(worker.train_labels, minlength=3).double()
    assert worker.defense.class_weights.tolist() == pytest.approx((25 / (3 * counts)).tolist(), rel=1e-15)
    assert len(set(counts.tolist())) > 1
    ((_, outcome),) = play(run)
    said = {entry["sentence"] for entry in outcome.privacy}
    messages = [message for message in run.statistics if isinstance(message, ClassCounts)]
    if name == "centralised":
        assert not messages
        assert CLASS_COUNTS not in said
        return
    assert CLASS_COUNTS in said
    for message in messages:
        own = worker.train_labels[torch.from_numpy(worker.parts[message.client])]
        assert message.counts.equal(torch.bincount(own, minlength=3))
    plain = prepare_tiny(method=name, max_train_images=25, seed=2, **SETTINGS)
    for way in ("up", "down"):
        more = run.settings.registration[f"{way}_statistics"] - plain.settings.registration[f"{way}_statistics"]
        assert more == 3 * 3 * 8
    ((_, before),) = play(plain)
    assert outcome.traffic["up_statistics"] - before.traffic["up_statistics"] == 3 * 3 * 8
    assert CLASS_COUNTS not in {entry["sentence"] for entry in before.privacy}


@pytest.mark.parametrize("held_by", ["server", "clients"])
@pytest.mark.parametrize("name", METHODS)
def test_answers_add_up_to_what_rounds_are_judged_by(prepare_tiny, play, name, held_by):
    run = prepare_tiny(method=name, validation=0.25, validation_held_by=held_by, dropout=0.4, seed=1, **SETTINGS)
    executor = InProcess(run.worker)
    ((state, outcome),) = play(run)
    worker, settings = run.worker, run.settings
    for images, labels, judged in (
        (settings.judged, worker.test_labels, (outcome.test_accuracy, outcome.test_loss)),
        (settings.validation, worker.validation_labels, None),
    ):
        logits, known = answers(run.method, executor, state.weights, state.extras, images)
        found = judge(run.method, executor, state.weights, state.extras, images)
        assert known.sum() == found.images
        assert int((logits.argmax(dim=1) == labels)[known].sum()) == found.correct
        loss = torch.nn.functional.cross_entropy(logits[known], labels[known], reduction="sum")
        assert float(loss) == pytest.approx(found.loss_sum, rel=1e-9)
        if judged is None:
            assert found == outcome.validation
        else:
            assert judged == (found.correct / found.images, found.loss_sum / found.images)
            assert known.all()


def test_clients_with_networks_of_their_own_judge_their_own_images(prepare_tiny, play):
    run = prepare_tiny(method="fedgkt", validation=0.25, validation_held_by="clients", dropout=0.4, seed=1)
    executor = InProcess(run.worker)
    ((state, _),) = play(run)
    networks = run.method.own_networks(state.extras)
    images: JudgedImages = run.settings.validation
    assert 0 < len(networks) < 3
    logits, known = answers(run.method, executor, state.weights, state.extras, images)
    for client, (start, stop) in images.owned.items():
        assert known[start:stop].all() == known[start:stop].any() == (client in networks)
        if client not in networks:
            continue
        model = {**state.weights.model, **networks[client]}
        whole = executor.logits(model, ImageRange(on=images.on))
        torch.testing.assert_close(logits[start:stop], whole[start:stop], rtol=1e-5, atol=1e-6)


# Of methods that differ by training alone each is judged on one of the two; what judges differently, on both.
BOTH = {"dtfl", "dtfl-full", "centralised", "fedgkt"}
JUDGED = [
    (name, held_by)
    for place, name in enumerate(METHODS)
    for turn, held_by in enumerate(("server", "clients"))
    if name in BOTH or turn == place % 2
]


@pytest.mark.parametrize(("name", "held_by"), JUDGED)
def test_a_run_closes_with_figures_by_class_and_by_client(patterns, tiny_network, tiny_config, tmp_path, name, held_by):
    config = tiny_config(
        method=name, rounds=2, validation=0.25, validation_held_by=held_by, class_weights="balanced", **SETTINGS
    )
    summary = train(config, out=tmp_path / "run", dataset=patterns, model=tiny_network()).summary
    on_disk = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert on_disk == json.loads(json.dumps(summary, allow_nan=False))
    test, clients = summary["test"], summary["clients"]
    assert test["n"] == sum(map(sum, test["confusion"])) == 12
    assert test["accuracy"] == summary["final_accuracy"]
    selected_earlier = summary["selected_round"] == 1
    if name == "fedgkt" and selected_earlier:
        assert summary["selected_test"] is summary["selected_clients"] is None
    else:
        assert summary["selected_test"]["accuracy"] == summary["selected_accuracy"]
    if name == "centralised":
        assert clients is None
        return
    assert set(clients["accuracy"]) == {"0", "1", "2"}
    if held_by == "clients":
        assert clients["judged_on"] == "each client's own validation images"
        total = sum(clients["accuracy"][c] * n for c, n in clients["images"].items() if n)
        assert total / sum(clients["images"].values()) == pytest.approx(summary["last_round"]["validation_accuracy"])
    else:
        assert clients["judged_on"].startswith("test images")
