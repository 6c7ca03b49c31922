import copy
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.models.cutting.staged import split
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs
from dtfl_private.training.tasks import ClientTask
from examples.paper_pseudocode import batches


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


class AddOne(Defense):
    """Adds one to all activations and to all weights."""

    def protect_batch(self, message, at):
        return replace(message, smashed=message.smashed + 1)

    def protect_update(self, message, at):
        return replace(message, weights={name: tensor + 1 for name, tensor in message.weights.items()})


class ForgetLabels(Defense):
    """Sets all labels to zero."""

    def protect_batch(self, message, at):
        return replace(message, labels=torch.zeros_like(message.labels))


def test_without_a_defense_the_transcript_is_the_raw_smashed_data(prepare_tiny, play, tiny_network):
    """The activations are computed again by a plain loop over a copy of the client half, from the same batches."""
    network = tiny_network()
    network.late[2].p = 0.0  # no dropout, hence no chance to be repeated
    prepared = prepare_tiny(model=network, precision="fp64", local_epochs=2)
    transcript = Transcript()
    ((_, outcome),) = play(prepared, observers=[transcript.record])
    messages = iter(transcript.messages)
    for client, tier in zip(outcome.plan.clients_P.tolist(), outcome.plan.tiers_P.tolist(), strict=True):
        modules = split(copy.deepcopy(prepared.worker.model), tier)[0]
        head = copy.deepcopy(prepared.worker.heads[tier])
        adam = torch.optim.Adam([*modules.parameters(), *head.parameters()], outcome.lr)
        for number, (inputs, labels) in enumerate(batches(prepared.worker, client, 1)):
            message = next(messages)
            assert isinstance(message, SmashedBatch)
            assert (message.client, message.round, message.tier, message.batch) == (client, 1, tier, number)
            smashed = modules(inputs)
            torch.testing.assert_close(message.smashed, smashed.detach(), rtol=1e-9, atol=1e-12)
            assert torch.equal(message.labels, labels)
            adam.zero_grad()
            F.cross_entropy(head(smashed), labels).backward()
            adam.step()
        update = next(messages)
        assert isinstance(update, WeightUpdate)
        for name, tensor in modules.state_dict().items():
            torch.testing.assert_close(update.weights[name], tensor, rtol=1e-9, atol=1e-12)
    assert list(messages) == []


def test_the_server_sees_what_the_defense_made_of_every_batch(prepare_tiny, play):
    raw, moved, unlabelled = Transcript(), Transcript(), Transcript()
    ((plain, _),) = play(prepare_tiny(), observers=[raw.record])
    ((shifted, _),) = play(prepare_tiny(defenses=[AddOne()]), observers=[moved.record])
    ((forgetful, outcome),) = play(prepare_tiny(defenses=[ForgetLabels()]), observers=[unlabelled.record])
    for before, after, blank in zip(raw.messages, moved.messages, unlabelled.messages, strict=True):
        if isinstance(before, SmashedBatch):
            assert torch.equal(after.smashed, before.smashed + 1)
            assert torch.equal(blank.smashed, before.smashed)
            assert blank.labels.unique().tolist() == [0]
        else:
            assert all(torch.equal(after.weights[name], tensor + 1) for name, tensor in before.weights.items())
    top = "top.2.weight"
    assert not torch.equal(shifted.weights.model[top], plain.weights.model[top])
    assert not torch.equal(forgetful.weights.model[top], plain.weights.model[top])
    # The server half learnt from zero labels alone.
    assert outcome.server_loss < outcome.local_loss


def test_what_the_server_does_with_the_messages_never_comes_back_to_the_clients(prepare_tiny, play):
    plain, defended = Transcript(), Transcript()
    play(prepare_tiny(), observers=[plain.record])
    play(prepare_tiny(defenses=[ForgetLabels()]), observers=[defended.record])
    for ours, theirs in zip(plain.messages, defended.messages, strict=True):
        if isinstance(ours, WeightUpdate):
            assert same(ours.weights, theirs.weights)
            assert same(ours.head, theirs.head)
        else:
            assert not ours.smashed.requires_grad
            assert ours.smashed.grad is None


def test_the_average_is_of_the_updates_as_the_defense_let_them_go(prepare_tiny, play):
    static = {"scheduler": "static:2", "precision": "fp64"}
    ((plain, _),) = play(prepare_tiny(**static))

    class OnlyWeights(AddOne):
        def protect_batch(self, message, at):
            return message

    ((moved, _),) = play(prepare_tiny(**static, defenses=[OnlyWeights()]))
    for name, tensor in plain.weights.model.items():
        on_the_client = name.startswith(("stem", "body"))
        torch.testing.assert_close(moved.weights.model[name], tensor + on_the_client, rtol=1e-12, atol=1e-12)
    assert same(moved.weights.heads[2], plain.weights.heads[2])


def test_defenses_are_applied_in_the_order_given(prepare_tiny, play):
    class Double(Defense):
        def protect_batch(self, message, at):
            return replace(message, smashed=2 * message.smashed)

    raw, first, second = Transcript(), Transcript(), Transcript()
    play(prepare_tiny(), observers=[raw.record])
    play(prepare_tiny(defenses=[AddOne(), Double()]), observers=[first.record])
    play(prepare_tiny(defenses=[Double(), AddOne()]), observers=[second.record])
    z = raw.messages[0].smashed
    assert torch.equal(first.messages[0].smashed, 2 * (z + 1))
    assert torch.equal(second.messages[0].smashed, 2 * z + 1)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"precision": "bf16", "batch_size": 5, "local_epochs": 2},
        {"precision": "fp64", "dropout": 0.5, "fraction": 0.6, "clients": 8},
        {"scheduler": "dynamic", "partition": "dirichlet:0.3", "dropout": 0.5},
    ],
)
def test_the_recorded_bytes_are_those_of_the_messages_and_those_that_the_schedule_promised(prepare_tiny, play, values):
    prepared = prepare_tiny(**values)
    table = prepared.settings.schedule.table
    transcript = Transcript()
    for _, outcome in play(prepared, 3, [transcript.record]):
        registration = prepared.settings.registration if outcome.plan.round == 1 else NO_TRAFFIC
        assert outcome.traffic == planned_bytes(outcome.plan, table, registration)
        assert outcome.macs == planned_macs(outcome.plan, table)
        sent = {"up_weights": 0, "up_smashed": 0, "up_labels": 0}
        for message in transcript.messages:
            if isinstance(message, SmashedBatch) and message.round == outcome.plan.round:
                sent["up_smashed"] += message.smashed.numel() * message.smashed.element_size()
                sent["up_labels"] += message.labels.numel() * message.labels.element_size()
            elif message.round == outcome.plan.round:
                tensors = [*message.weights.values(), *message.head.values()]
                sent["up_weights"] += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        assert outcome.traffic == {**sent, **registration, "down_weights": outcome.traffic["down_weights"]}


def test_heads_of_tiers_that_nobody_had_stay_as_they_were(prepare_tiny, play):
    prepared = prepare_tiny(scheduler="static:2")
    ((state, _),) = play(prepared)
    before = prepared.initial.weights.heads
    assert same(state.weights.heads[1], before[1])
    assert same(state.weights.heads[3], before[3])
    assert not same(state.weights.heads[2], before[2])


def test_the_new_model_is_the_average_of_those_who_stayed_weighted_by_their_images(prepare_tiny, play):
    prepared = prepare_tiny(clients=6, dropout=0.5, partition="dirichlet:1", precision="fp64", seed=9)
    state, outcome = play(prepared, 1)[0]
    plan = outcome.plan
    stayed = [
        (int(k), int(m)) for k, m, gone in zip(plan.clients_P, plan.tiers_P, plan.dropped_P, strict=True) if not gone
    ]
    assert [tier for _, tier in stayed] == [3, 3, 2, 1]
    sizes = [len(prepared.worker.parts[client]) for client, _ in stayed]
    assert len(set(sizes)) == 4

    executor = InProcess(prepared.worker)
    tasks = [ClientTask(client=k, round=1, tier=m, lr=outcome.lr, batches=10**6, completes=True) for k, m in stayed]
    results = list(executor.train(tasks, prepared.initial.weights))
    for name, tensor in state.weights.model.items():
        mean = sum(n * result.model[name].double() for n, result in zip(sizes, results, strict=True)) / sum(sizes)
        torch.testing.assert_close(tensor.double(), mean if tensor.is_floating_point() else mean.round())
    for tier, head in state.weights.heads.items():
        sharing = [(n, r.head) for n, r in zip(sizes, results, strict=True) if r.tier == tier]
        for name, tensor in head.items():
            mean = sum((n * h[name] for n, h in sharing), torch.zeros(())) / max(1, sum(n for n, _ in sharing))
            before = prepared.initial.weights.heads[tier][name]
            torch.testing.assert_close(tensor, mean if sharing else before)
    for side in ("local_loss", "server_loss"):
        mean = sum(n * getattr(r, side) for n, r in zip(sizes, results, strict=True)) / sum(sizes)
        assert getattr(outcome, side) == pytest.approx(mean, rel=1e-12)


def test_when_everybody_drops_out_the_weights_and_the_rate_stay_as_they_were(prepare_tiny, play):
    prepared = prepare_tiny(dropout=1.0, lr_patience=1)
    for state, outcome in play(prepared, 3):
        assert same(state.weights.model, prepared.initial.weights.model)
        for tier, head in prepared.initial.weights.heads.items():
            assert same(state.weights.heads[tier], head)
        assert outcome.plan.dropped_P.all()
        assert outcome.local_loss is None
        assert outcome.server_loss is None
        assert outcome.traffic["up_weights"] == 0
        assert outcome.traffic["down_weights"] > 0
        assert state.plateau == prepared.initial.plateau


def test_a_round_takes_the_fraction_of_the_clients(prepare_tiny, play):
    prepared = prepare_tiny(clients=10, fraction=0.3)
    chosen = [outcome.plan.clients_P.tolist() for _, outcome in play(prepared, 3)]
    assert [len(clients) for clients in chosen] == [3, 3, 3]
    assert len({tuple(clients) for clients in chosen}) > 1


def test_rounds_are_a_function_of_the_state(prepare_tiny, play):
    prepared = prepare_tiny(augment=["crop", "flip", "cutout"], noise=0.3, dropout=0.3, optimizer="sgd", momentum=0.9)
    first, again = play(prepared, 2), play(prepared, 2)
    for (state, outcome), (other, same_outcome) in zip(first, again, strict=True):
        assert same(state.weights.model, other.weights.model)
        assert (outcome.test_loss, outcome.traffic) == (same_outcome.test_loss, same_outcome.traffic)
    # The second round alone, from the state after the first.
    (second, _) = play(replace(prepared, initial=first[0][0]))[0]
    assert same(second.weights.model, first[1][0].weights.model)
    assert second.schedule.clock == first[1][0].schedule.clock


def test_the_optimizer_and_the_passes_over_the_data_matter(prepare_tiny, play):
    models = [
        play(prepare_tiny(**values))[0][0].weights.model["stem.0.weight"]
        for values in ({}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}, {"local_epochs": 2})
    ]
    assert all(not torch.equal(models[i], models[j]) for i in range(4) for j in range(i))


def test_the_learning_rate_decays_when_the_training_loss_no_longer_falls(prepare_tiny, play):
    # At this rate nothing is learnt, so that every round after the first is a plateau.
    prepared = prepare_tiny(
        lr=1e-12,
        lr_patience=1,
        lr_decay=0.5,
        defenses=[ForgetLabels()],
        scheduler="static:1",
        local_epochs=1,
        clients=1,
    )
    rates = [outcome.lr for _, outcome in play(prepared, 12)]
    assert rates[0] == 1e-12
    assert rates[-1] < rates[0]
    assert all(math.log2(rates[0] / rate).is_integer() for rate in rates)


def test_an_exploding_loss_stops_the_round_by_name(prepare_tiny, play):
    with pytest.raises(
        NonFiniteLossError, match=r"loss of client \d became .* in round 1 .*: start again with a lower --lr"
    ):
        play(prepare_tiny(lr=1e30))


def test_weights_that_are_no_numbers_stop_the_round_by_name_though_no_loss_shows_them(prepare_tiny, play):
    class Explode(ForgetLabels):
        def protect_update(self, message, at):
            return replace(
                message,
                weights={name: t * float("nan") for name, t in message.weights.items() if t.is_floating_point()}
                | {n: t for n, t in message.weights.items() if not t.is_floating_point()},
            )

    with pytest.raises(NonFiniteLossError, match=r"largest weight of client \d became nan in round 1"):
        play(prepare_tiny(defenses=[Explode()]))
