"""A U-shaped split: the unsplit network's gradients, a twin in plain loops, what is refused, and its time."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import MiddleOutput, SmashedBatch, TailGradient, Transcript
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import BatchByBatch, RoundWork
from dtfl_private.simulation.workload import Workload
from dtfl_private.training.methods.u_shaped import FORWARD_THEN_BACKWARD
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker
from examples.paper_pseudocode import average, gap

TOLERANCE = 1e-6
SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "lr": 0.05}


@pytest.mark.parametrize(
    ("ends", "values"), [("cut=2", {}), ("cut=1,tail=2", {"local_epochs": 2}), ("cut=1", {"fraction": 0.7, **SGD})]
)
def test_it_trains_what_the_unsplit_network_trains(prepare_tiny, play, ends, values):
    """Batch norm, dropout, unequal clients and the learning rate's decay included."""
    common = {"precision": "fp64", "partition": "dirichlet:1", "augment": ["flip"], "lr_patience": 1, **values}
    split = play(prepare_tiny(method=f"u-shaped:{ends}", **common), 3)
    whole = play(prepare_tiny(method="fedavg", **common), 3)
    for (ours, outcome), (theirs, expected) in zip(split, whole, strict=True):
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert outcome.local_loss == pytest.approx(expected.local_loss, rel=1e-9)
        assert outcome.server_loss is None
        assert ours.plateau == theirs.plateau


def plain_round(worker, weights, parts, lr):
    """The method in plain loops: every crossing by hand, SGD by hand."""
    returned = []
    for client in range(len(parts)):
        network = copy.deepcopy(worker.model).double().train()
        network.load_state_dict(weights)
        first, middle, tail = network[:2], network[2:3], network[3:]
        data = worker.data(ClientTask(client=client, round=1, tier=2, lr=lr, batches=1, completes=True))
        for records in data.batches:
            inputs, labels = data.fetch(records)
            smashed = first(inputs)
            sent = smashed.detach().requires_grad_()
            outputs = middle(sent)
            received = outputs.detach().requires_grad_()
            F.cross_entropy(tail(received), labels).backward()
            outputs.backward(received.grad)
            smashed.backward(sent.grad)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= lr * parameter.grad
                    parameter.grad = None
        returned.append((network.state_dict(), len(parts[client])))
    return average(returned)


def test_it_is_its_twin_in_plain_loops(prepare_tiny, play, without_dropout):
    prepared = prepare_tiny(
        method="u-shaped", model=without_dropout(), precision="fp64", optimizer="sgd", momentum=0.0, lr=0.05
    )
    ((state, _),) = play(prepared)
    worker = Worker(prepared.worker)
    twin = plain_round(worker, prepared.initial.weights.model, prepared.worker.parts, 0.05)
    assert gap((state.weights.model, twin)) <= TOLERANCE


CARRIES = {SmashedBatch: "smashed", MiddleOutput: "outputs", TailGradient: "gradient"}


def test_no_label_and_no_graph_crosses_the_boundary(prepare_tiny, play):
    """The same images with other labels: what the client sends first is the same, to the bit."""
    prepared = prepare_tiny(method="u-shaped")
    swapped = replace(prepared.worker, train_labels=(prepared.worker.train_labels + 1) % 3)
    seen = []
    for worker in (prepared.worker, swapped):
        transcript = Transcript()
        play(replace(prepared, worker=worker), 1, [transcript.record])
        seen.append([message for message in transcript.messages if message.client == 0])
    for kind, same in ((SmashedBatch, True), (MiddleOutput, True), (TailGradient, False)):
        one, other = (next(message for message in messages if isinstance(message, kind)) for messages in seen)
        tensors = [getattr(message, CARRIES[kind]) for message in (one, other)]
        assert torch.equal(*tensors) == same
        assert not tensors[0].requires_grad
    batches = [message for message in seen[0] if isinstance(message, SmashedBatch)]
    assert batches
    assert all(batch.label_bytes == 0 and not batch.labels.any() for batch in batches)


def test_a_batch_that_says_it_has_no_labels_cannot_have_any():
    with pytest.raises(ValueError, match="a batch without labels has labels"):
        SmashedBatch(
            client=0, round=1, tier=1, batch=0, smashed=torch.zeros(2, 3), labels=torch.tensor([0, 1]), labelled=False
        )


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("cut=2,tail=2", "leaves the server none of the 4 modules: cut and tail must come to 3 at most"),
        ("cut=3", "leaves the server none"),
        ("cut=5", "cut=5 is out of range"),
    ],
)
def test_ends_that_leave_the_server_nothing_are_refused(prepare_tiny, ends, why):
    with pytest.raises(InputError, match=why) as error:
        prepare_tiny(method=f"u-shaped:{ends}")
    assert "\n" not in str(error.value)


def _work(own_s, service_s, batches):
    counts = np.array(batches)
    nothing = np.zeros(len(batches))
    seconds = Workload(
        training_s=np.array(own_s), releasing_s=nothing, transfer_s=nothing, service_s=np.array(service_s)
    )
    return RoundWork(seconds=seconds, batches_P=counts, sent_batches_P=counts)


def test_a_batch_comes_to_the_server_twice():
    """Two clients, one batch each, one worker. Own time 2 (1 before each visit), service 3 (1, then 2).

    Forward passes end at 2 (first client) and 3 (second: waited 1). Backwards arrive at 3 and 4: the first is served
    from 3 to 5, the second waits 1 and is served from 5 to 7.
    """
    timing = BatchByBatch(one_server_half=False, visits=FORWARD_THEN_BACKWARD)
    times = timing.simulate(_work([2.0, 2.0], [3.0, 3.0], [1, 1]), ServerCapacity(cpus=1.0, workers=1))
    assert times.client_time_s_P.tolist() == pytest.approx([5.0, 7.0])
    assert times.server_wait_s == pytest.approx(2.0)
    assert timing.round_trips(np.array([0, 1, 5])).tolist() == [1, 3, 11]


def test_a_client_waits_for_two_round_trips_in_every_batch(prepare_tiny, play):
    prepared = prepare_tiny(method="u-shaped", local_epochs=2)
    environment = prepared.settings.schedule.environment
    profiles = tuple(profile.model_copy(update={"latency_ms": 250.0}) for profile in environment.profiles)
    schedule = replace(prepared.settings.schedule, environment=replace(environment, profiles=profiles))
    ((_, near),) = play(prepared)
    ((_, far),) = play(replace(prepared, settings=replace(prepared.settings, schedule=schedule)))
    waits = 2 * 0.25 * (1 + 2 * near.plan.batches_P)
    assert far.plan.transfer_s_P - near.plan.transfer_s_P == pytest.approx(waits)
    assert far.plan.client_time_s_P - near.plan.client_time_s_P == pytest.approx(waits)
