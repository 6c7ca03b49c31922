from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dtfl_private.errors import NonFiniteLossError
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.protection.base import Defense
from dtfl_private.protection.secret_randomness import SecretRandomness
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate, state_bytes
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, ImageRange
from dtfl_private.training.worker import Worker


def a_task(**changes) -> ClientTask:
    task = ClientTask(client=1, round=2, tier=2, lr=0.01, batches=4, completes=True)
    return replace(task, **changes)


def train(worker: Worker, task: ClientTask, weights: GlobalWeights) -> ClientResult:
    """Return what becomes of a client that is trained alone."""
    (result,) = worker.setup.work.train(worker, [task], weights)
    return result


def same(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_result_does_not_depend_on_what_the_worker_did_before(prepare_tiny):
    prepared = prepare_tiny()
    weights = prepared.initial.weights
    fresh, used = Worker(prepared.worker), Worker(prepared.worker)
    for tier in (3, 1, 2):
        train(used, a_task(client=0, tier=tier, lr=0.1), weights)
    used.evaluate(weights.model, ALL_TEST_IMAGES)
    expected, result = train(fresh, a_task(), weights), train(used, a_task(), weights)
    assert same(result.model, expected.model)
    assert same(result.head, expected.head)
    assert (result.local_loss, result.server_loss) == (expected.local_loss, expected.server_loss)


def test_the_global_random_generators_neither_steer_a_worker_nor_are_moved_by_it(prepare_tiny):
    # The tiny network has dropout, which draws from the global generator.
    prepared = prepare_tiny(augment=["crop", "flip", "cutout"])
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = train(Worker(prepared.worker), a_task(), prepared.initial.weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    second = train(Worker(prepared.worker), a_task(), prepared.initial.weights)
    assert same(first.model, second.model)


def fetched(worker: Worker) -> tuple[list[int], torch.Tensor]:
    data = worker.data(a_task())
    return torch.cat([*data.batches]).tolist(), data.fetch(torch.arange(4))[0]


def test_order_and_alterations_of_images_follow_from_the_seed_or_from_nothing_that_others_know(prepare_tiny):
    prepared = prepare_tiny(augment=["crop", "flip", "cutout"])
    seeded = [fetched(Worker(prepared.worker)) for _ in range(2)]
    assert seeded[0][0] == seeded[1][0]
    assert seeded[0][1].equal(seeded[1][1])
    secret = [fetched(Worker(prepared.worker, randomness=SecretRandomness(bytes(32)))) for _ in range(2)]
    assert sorted(secret[0][0]) == sorted(seeded[0][0])
    for other in (secret[1], seeded[0]):
        assert secret[0][0] != other[0]
        assert not secret[0][1].equal(other[1])


@pytest.mark.parametrize("defenses", [["dp-weights", "dp-activations"], ["pixel-dp", "label-rr"]])
def test_noise_of_a_client_follows_from_the_seed_or_from_nothing_that_others_know(tiny_config, patterns, defenses):
    prepared = prepare(tiny_config(defense=defenses, norm="group"), RunObjects(dataset=patterns))

    def sent(randomness=None) -> WeightUpdate:
        seen = Transcript()
        train(Worker(prepared.worker, [seen.record], randomness=randomness), a_task(), prepared.initial.weights)
        return seen.messages[-1]

    seeded, secret = [sent(), sent()], [sent(SecretRandomness(bytes(32))), sent(SecretRandomness(bytes(32)))]
    assert same(seeded[0].weights, seeded[1].weights)
    for name, tensor in secret[0].weights.items():
        assert not tensor.equal(secret[1].weights[name])
        assert not tensor.equal(seeded[0].weights[name])


def test_training_leaves_the_weights_it_starts_from_and_the_setup_alone(prepare_tiny):
    prepared = prepare_tiny()
    model, heads = prepared.initial.weights.model, prepared.initial.weights.heads
    before = {name: tensor.clone() for name, tensor in model.items()}
    head_before = {name: tensor.clone() for name, tensor in heads[2].items()}
    result = train(Worker(prepared.worker), a_task(), prepared.initial.weights)
    assert same(model, before)
    assert same(heads[2], head_before)
    assert same(prepared.worker.model.state_dict(), before)
    assert not same(result.model, before)
    assert not same(result.head, head_before)


def test_a_result_holds_the_whole_model_and_the_head_of_the_tier(prepare_tiny):
    prepared = prepare_tiny()
    for tier in (1, 2, 3):
        result = train(Worker(prepared.worker), a_task(tier=tier), prepared.initial.weights)
        assert list(result.model) == list(prepared.initial.weights.model)
        assert result.head.keys() == prepared.initial.weights.heads[tier].keys()
        assert result.examples == len(prepared.worker.parts[1])


@pytest.mark.parametrize("local_epochs", [1, 2])
def test_each_epoch_takes_every_image_of_the_client_once_in_a_fresh_order(prepare_tiny, local_epochs):
    prepared = prepare_tiny(local_epochs=local_epochs, batch_size=5)
    transcript = Transcript()
    worker = Worker(prepared.worker, [transcript.record])
    train(worker, a_task(batches=100), prepared.initial.weights)
    train(worker, a_task(batches=100, round=3), prepared.initial.weights)
    part = prepared.worker.parts[1]
    expected = prepared.worker.train_labels[torch.from_numpy(part)]
    batches = [message for message in transcript.messages if isinstance(message, SmashedBatch)]
    epochs = torch.cat([message.labels for message in batches]).view(2 * local_epochs, len(part))
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, expected.sort().values)
        assert not torch.equal(epoch, expected)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 2 * local_epochs
    assert {len(message.labels) for message in batches} == {5, len(part) % 5}


def test_a_client_that_drops_out_sends_its_batches_and_no_weights(prepare_tiny):
    prepared = prepare_tiny()
    whole, part = Transcript(), Transcript()
    train(Worker(prepared.worker, [whole.record]), a_task(), prepared.initial.weights)
    task = a_task(batches=2, completes=False)
    result = train(Worker(prepared.worker, [part.record]), task, prepared.initial.weights)
    assert len(part.messages) == 2
    for sent, expected in zip(part.messages, whole.messages[:2], strict=True):
        assert torch.equal(sent.smashed, expected.smashed)
    assert isinstance(whole.messages[-1], WeightUpdate)
    assert result.model == result.head == {}
    assert result.traffic["up_weights"] == 0
    assert result.traffic["up_labels"] == 2 * 4 * 8
    assert result.traffic["down_weights"] > 0


def test_traffic_is_the_size_of_the_messages_as_observed(prepare_tiny):
    prepared = prepare_tiny()
    transcript = Transcript()
    result = train(Worker(prepared.worker, [transcript.record]), a_task(tier=3), prepared.initial.weights)
    *batches, update = transcript.messages
    client_part = {name: prepared.initial.weights.model[name] for name in update.weights}
    assert {name.partition(".")[0] for name in client_part} == {"stem", "body", "late"}
    assert result.traffic == {
        "down_weights": state_bytes(client_part) + state_bytes(prepared.initial.weights.heads[3]),
        "up_weights": state_bytes(update.weights) + state_bytes(update.head),
        "up_smashed": sum(message.smashed.numel() * 4 for message in batches),
        "up_labels": sum(len(message.labels) * 8 for message in batches),
    }
    assert all(message.smashed.shape[1:] == (8, 4, 4) for message in batches)


class Poison(Defense):
    """Makes what the server gets infinite, in the client's third batch."""

    def protect_batch(self, message, at):
        return replace(message, smashed=message.smashed * (float("inf") if message.batch == 2 else 1))


def test_a_loss_that_is_no_number_names_side_client_round_tier_and_rate(prepare_tiny):
    prepared = prepare_tiny()
    with pytest.raises(
        NonFiniteLossError, match=r"^the local loss of client 1 became \w+ in round 2 \(tier 2, lr 1e\+30\)"
    ):
        train(Worker(prepared.worker), a_task(lr=1e30), prepared.initial.weights)
    poisoned = prepare_tiny(defenses=[Poison()])
    with pytest.raises(
        NonFiniteLossError, match=r"^the server loss of client 1 became \w+ in round 2 \(tier 2, lr 0.01\)"
    ):
        train(Worker(poisoned.worker), a_task(), poisoned.initial.weights)


def test_an_evaluation_is_that_of_the_plain_network_in_eval_mode(prepare_tiny, tiny_network):
    prepared = prepare_tiny(precision="fp64")
    worker = Worker(prepared.worker)
    result = train(worker, a_task(), prepared.initial.weights)
    judged = worker.evaluate(result.model, ImageRange(start=2, stop=9))

    plain = tiny_network().double()
    plain.load_state_dict(result.model)
    inputs = prepared.worker.normaliser(prepared.worker.test_images[2:9]).double()
    with torch.no_grad():
        logits = plain.eval()(inputs)
    labels = prepared.worker.test_labels[2:9]
    assert judged.images == 7
    assert judged.correct == sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
    assert judged.loss_sum == pytest.approx(7 * F.cross_entropy(logits, labels).item(), rel=1e-12)


def test_augmentation_changes_what_is_trained_on_and_nothing_else(prepare_tiny):
    plain, augmented = prepare_tiny(), prepare_tiny(augment=["crop"])
    results = [train(Worker(p.worker), a_task(), p.initial.weights) for p in (plain, augmented, augmented)]
    assert not same(results[0].model, results[1].model)
    assert same(results[1].model, results[2].model)
    model = plain.initial.weights.model
    judged = [Worker(p.worker).evaluate(model, ALL_TEST_IMAGES) for p in (plain, augmented)]
    assert judged[0] == judged[1]
