"""Clients that send every so many-th batch: what they send, what they train on, what it costs, and who is refused."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray, TierChoice, TimesSource
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs

METHODS = ["dtfl", "dtfl-full", "dtfl-shared", "local-loss"]
VALUES = {
    "scheduler": "static:2",
    "local_epochs": 2,
    "precision": "fp64",
    "partition": "dirichlet:1",
    "augment": ["crop"],
}


@pytest.fixture
def rounds(prepare_tiny, play):
    """Play a round with these settings: the run, its outcome, batches by client, and updates by client."""

    def played(**values):
        run, transcript = prepare_tiny(**{**VALUES, **values}), Transcript()
        ((_, outcome),) = play(run, 1, [transcript.record])
        batches = {client: [] for client in outcome.plan.clients_P.tolist()}
        for message in transcript.messages:
            if isinstance(message, SmashedBatch):
                batches[message.client].append(message)
        updates = {message.client: message for message in transcript.messages if isinstance(message, WeightUpdate)}
        return run, outcome, batches, updates

    return played


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("every", [3, 1000])
def test_a_client_trains_as_ever_and_sends_the_first_batch_and_every_so_many_th(rounds, method, every):
    """Its layers' draws, its augmentation and its whole update are those of a client that sends every batch."""
    _, _, some, updates = rounds(method=method, send_every=every)
    _, _, all_of_them, expected = rounds(method=method)
    for client, batches in all_of_them.items():
        assert [batch.batch for batch in some[client]] == list(range(0, len(batches), every))
        for ours, theirs in zip(some[client], batches[::every], strict=True):
            assert torch.equal(ours.smashed, theirs.smashed)
            assert torch.equal(ours.labels, theirs.labels)
        assert all(torch.equal(updates[client].weights[name], w) for name, w in expected[client].weights.items())


@pytest.mark.parametrize("method", METHODS)
def test_bytes_work_and_time_are_those_of_what_is_sent(rounds, method):
    run, outcome, batches, _ = rounds(method=method, send_every=3, server_cpus=0.001)
    schedule = run.settings.schedule
    assert outcome.traffic == planned_bytes(outcome.plan, schedule.table, run.settings.registration)
    assert outcome.macs == planned_macs(outcome.plan, schedule.table)
    assert [len(batches[client]) for client in batches] == outcome.plan.sent_batches_P.tolist()
    images = [sum(len(batch.labels) for batch in batches[client]) for client in batches]
    assert images == outcome.plan.sent_P.tolist()
    assert outcome.plan.images_P.tolist() == [2 * len(part) for part in run.worker.parts]
    _, plain, _, _ = rounds(method=method, server_cpus=0.001)
    assert outcome.plan.round_time_s < plain.plan.round_time_s / 2, "the server is what takes the time"


@dataclass
class _Asked:
    """A scheduler that keeps what it is told of the times."""

    sees: TimesSource
    uses_times: ClassVar[bool] = True
    told: list[np.ndarray] = field(default_factory=list)

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        self.told.append(choice.times_s_KM)
        return np.full(len(choice.times_s_KM), 2)


def test_the_scheduler_is_told_of_what_is_sent_only(prepare_tiny, play):
    """Where nothing changes, what the server expects of its clients is what happens to them."""
    told = {}
    for sees, every in (("average", 3), ("truth", 3), ("truth", 1)):
        asked = _Asked(sees)
        run = prepare_tiny(**{**VALUES, "method": "dtfl", "send_every": every})
        schedule = replace(run.settings.schedule, scheduler=asked)
        play(replace(run, settings=replace(run.settings, schedule=schedule)), 2)
        told[sees, every] = asked.told[-1]
    assert np.allclose(told["average", 3], told["truth", 3], rtol=1e-12)
    assert (told["truth", 3] < told["truth", 1]).all()


def test_who_drops_out_has_sent_every_so_many_th_of_what_it_trained_on(rounds):
    _, outcome, batches, updates = rounds(method="dtfl-shared", clients=6, dropout=0.6, send_every=2, seed=1)
    gone = outcome.plan.clients_P[outcome.plan.dropped_P].tolist()
    assert 0 < len(gone) < 6
    assert set(updates) == set(batches) - set(gone)
    for place, client in enumerate(batches):
        trained = int(outcome.plan.batches_P[place])
        assert [batch.batch for batch in batches[client]] == list(range(0, trained, 2))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "fedavg"}, "--send-every 2 leaves out smashed data, and method fedavg sends none"),
        ({"method": "splitfed-v2"}, "in method splitfed-v2 a client's step waits for the server's gradient"),
        ({"method": "fedgkt"}, "with fedgkt clients send each record once, when they have trained"),
        (
            {"defense": ["dp-weights:noise_multiplier=1"], "local_epochs": 1},
            "with dp-weights clients send each record once",
        ),
    ],
)
def test_it_is_refused_where_clients_do_not_send_as_they_train_on_their_own(prepare_tiny, values, words):
    with pytest.raises(InputError, match=words):
        prepare_tiny(send_every=2, **values)
