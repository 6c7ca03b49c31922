"""One server network for all clients: against plain loops, and against the methods that it must come to; in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.protocol.messages import SmashedBatch, Transcript
from dtfl_private.training.recording import Recorder
from dtfl_private.training.tasks import tasks_of
from examples.paper_pseudocode import average, batches, gap, step

TOLERANCE = 1e-6
UNEQUAL = {"precision": "fp64", "partition": "dirichlet:1"}


@pytest.mark.parametrize(("full", "papers"), [(False, "dtfl"), (True, "dtfl-full")])
@pytest.mark.parametrize("values", [{}, {"local_epochs": 2, "dropout": 0.3, "augment": ["flip"]}])
def test_as_many_networks_as_clients_are_dtfl(prepare_tiny, play, full, papers, values):
    """Dropout layers, batch norm, clients that drop out, time and bytes included."""
    shared = play(prepare_tiny(method=f"dtfl-shared:full={str(full).lower()},replicas=3", **UNEQUAL, **values), 3)
    own = play(prepare_tiny(method=papers, **UNEQUAL, **values), 3)
    for (ours, outcome), (theirs, expected) in zip(shared, own, strict=True):
        assert outcome.plan.tiers_P.tolist() == expected.plan.tiers_P.tolist()
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert all(gap((ours.weights.heads[m], head)) <= TOLERANCE for m, head in theirs.weights.heads.items() if head)
        assert outcome.server_loss == pytest.approx(expected.server_loss, rel=1e-9)
        assert (outcome.traffic, outcome.macs) == (expected.traffic, expected.macs)
        assert outcome.virtual_time_s == pytest.approx(expected.virtual_time_s, rel=1e-12)


def test_all_clients_with_the_whole_network_are_fedavg(prepare_tiny, play):
    shared = play(prepare_tiny(method="dtfl-shared", scheduler="static:4", **UNEQUAL), 2)
    whole = play(prepare_tiny(method="fedavg", **UNEQUAL), 2)
    for (ours, outcome), (theirs, expected) in zip(shared, whole, strict=True):
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert outcome.virtual_time_s == expected.virtual_time_s


@pytest.mark.parametrize(
    ("tiers", "merge"), [((2,), 1), ((1, 3, 2), 1), ((3, 1, 1), 1), ((1, 3, 2), 2), ((3, 1, 1), 4)]
)
def test_a_round_is_that_of_plain_loops(prepare_tiny, play, without_dropout, tiers, merge, in_tiers):
    """Each message enters the one server network behind its cut; what it does not reach takes no step of Adam.

    A step on several messages has each module's mean gradient of those that reach it.

    The new module is the average of the copies of the clients that hold it, and of the server's for all others.
    """
    method = f"dtfl-shared:full=false,merge={merge}"
    prepared = prepare_tiny(method=method, model=without_dropout(), clients=len(tiers), local_epochs=2, **UNEQUAL)
    prepared = in_tiers(prepared, *tiers)
    ((state, outcome),) = play(prepared)
    setup = prepared.worker
    order = outcome.plan.order.tolist()
    assert sorted(order) == sorted(
        place for place, sent in enumerate(outcome.plan.sent_batches_P.tolist()) for _ in range(sent)
    )
    assert len(tiers) == 1 or order != sorted(order), "clients should alternate"
    server = copy.deepcopy(setup.model).train()
    halves = [copy.deepcopy(setup.model).train()[:tier] for tier in tiers]
    heads = [copy.deepcopy(setup.heads[tier]) for tier in tiers]
    adams = [
        torch.optim.Adam([*half.parameters(), *head.parameters()], outcome.lr)
        for half, head in zip(halves, heads, strict=True)
    ]
    modules = [torch.optim.Adam(module.parameters(), outcome.lr) for module in server]
    waiting = [iter(batches(setup, client, 1)) for client in range(len(tiers))]
    for start in range(0, len(order), merge):
        together = order[start : start + merge]
        for client in together:
            x, y = next(waiting[client])
            z = halves[client](x)
            step(adams[client], F.cross_entropy(heads[client](z), y))
            F.cross_entropy(server[tiers[client] :](z.detach()), y).backward()
        for place, adam in enumerate(modules):
            reached = sum(tiers[client] <= place for client in together)
            for parameter in server[place].parameters():
                parameter.grad = parameter.grad / reached if reached else None
            adam.step()
            adam.zero_grad()
    joined = []
    for half, part in zip(halves, setup.parts, strict=True):
        joined.append(({**server.state_dict(), **half.state_dict()}, len(part)))
    assert gap((average(joined), state.weights.model)) <= TOLERANCE


def test_with_two_networks_each_trains_on_its_own_clients(prepare_tiny, play, in_tiers):
    """Those of one are as if the others were not there."""
    two = in_tiers(prepare_tiny(method="dtfl-shared:full=false,replicas=2", **UNEQUAL), 1, 2, 3)
    ((_, outcome),) = play(two)
    replicas = outcome.plan.replica_P.tolist()
    assert sorted(set(replicas)) == [0, 1]
    one = in_tiers(prepare_tiny(method="dtfl-shared:full=false", **UNEQUAL), 1, 2, 3)
    ((_, together),) = play(one)
    assert set(together.plan.replica_P.tolist()) == {0}
    assert outcome.server_loss != together.server_loss


def test_a_client_that_drops_out_has_trained_the_server_with_what_it_had_sent(prepare_tiny, play, in_tiers):
    values = {**UNEQUAL, "clients": 6, "dropout": 0.5, "local_epochs": 3, "seed": 1}
    ((state, outcome),) = play(in_tiers(prepare_tiny(method="dtfl-shared:full=false", **values), *[2] * 6))
    gone = np.flatnonzero(outcome.plan.dropped_P & (outcome.plan.sent_batches_P > 0))
    assert 0 < len(gone) < 6
    assert set(gone.tolist()) <= set(outcome.plan.order.tolist())
    own = play(in_tiers(prepare_tiny(method="dtfl-shared:full=false,replicas=6", **values), *[2] * 6))[0][0]
    client, server = (
        {
            name: gap(({name: t}, {name: own.weights.model[name]}))
            for name, t in state.weights.model.items()
            if place(name)
        }
        for place in (lambda name: name.startswith(("stem", "body")), lambda name: name.startswith(("late", "top")))
    )
    assert max(client.values()) <= TOLERANCE, "client halves do not depend on the server's network"
    assert min(gaps for name, gaps in server.items() if "weight" in name) > TOLERANCE


def test_a_client_sends_the_same_whoever_shares_the_server_network(prepare_tiny, play, tiny_network, in_tiers):
    """Played alone, as attacks do, it draws what it drew in the round; its own half has a dropout layer."""
    network = tiny_network()
    network.body.append(nn.Dropout(0.3))
    prepared = prepare_tiny(method="dtfl-shared:full=false", model=network, local_epochs=2, **UNEQUAL)
    prepared = in_tiers(prepared, 2, 3, 1)
    transcript = Transcript()
    ((_, outcome),) = play(prepared, 1, [transcript.record])
    recorder = Recorder(prepared.worker)
    for task in tasks_of(outcome.plan, prepared.initial):
        sent = [m for m in transcript.messages if isinstance(m, SmashedBatch) and m.client == task.client]
        again = recorder.record(task, prepared.initial.weights, batches=len(sent), whole=True).seen
        assert [torch.equal(a.smashed, b.smashed) for a, b in zip(again.batches, sent, strict=True)] == [True] * len(
            sent
        )
        assert again.update is not None
