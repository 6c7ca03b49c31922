"""A round with a deadline: what clients that it stops send, how they weigh, what it costs, and who is refused."""

import numpy as np
import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs

CHANGES = {"drift_share": 1.0, "drift_every": 1, "clients": 4, "batch_size": 2, "precision": "fp64"}


@pytest.fixture
def late_round(prepare_tiny, play):
    """Play rounds until some are stopped: the run, that outcome, its batches and updates by client, its weights."""

    def played(number=None, **values):
        run, transcript = prepare_tiny(**{**CHANGES, **values}), Transcript()
        rounds = play(run, number or 8, [transcript.record])
        state, outcome = next(one for one in rounds if one[1].plan.stopped_P.any()) if number is None else rounds[-1]
        seen = [message for message in transcript.messages if message.round == outcome.plan.round]
        batches = {client: [] for client in outcome.plan.clients_P.tolist()}
        for message in seen:
            if isinstance(message, SmashedBatch):
                batches[message.client].append(message)
        updates = {message.client: message for message in seen if isinstance(message, WeightUpdate)}
        return run, outcome, batches, updates, state.weights.model

    return played


@pytest.mark.parametrize("method", ["dtfl", "dtfl-full", "dtfl-shared", "local-loss", "fedavg"])
def test_who_is_stopped_weighs_by_the_images_that_it_trained_on(late_round, method):
    tiers = {} if method == "fedavg" else {"scheduler": "static:1", "first_tier": "shallowest"}
    run, outcome, batches, updates, model = late_round(method=method, deadline=1.0, **tiers)
    plan = outcome.plan
    assert not plan.stopped_P.all()
    assert outcome.traffic == planned_bytes(plan, run.settings.schedule.table)
    assert outcome.macs == planned_macs(plan, run.settings.schedule.table)
    images = dict(zip(plan.clients_P.tolist(), plan.images_P.tolist(), strict=True))
    assert {client: update.examples for client, update in updates.items()} == images
    if method != "fedavg":
        sent = {client: sum(len(batch.labels) for batch in batches[client]) for client in images}
        assert sent == images
    # A module that all clients hold is their average.
    name = next(iter(updates[0].weights))
    mean = sum(images[client] * update.weights[name] for client, update in updates.items()) / sum(images.values())
    assert torch.allclose(model[name], mean, rtol=1e-9, atol=1e-12)


def test_what_it_sent_before_is_what_it_would_have_sent_anyway(late_round):
    settings = {"method": "dtfl-shared", "scheduler": "static:1", "augment": ["crop"]}
    _, outcome, stopped, _, _ = late_round(deadline=1.0, **settings)
    _, plain, everything, _, _ = late_round(outcome.plan.round, **settings)
    assert outcome.plan.round_time_s < plain.plan.round_time_s
    for client, batches in stopped.items():
        for ours, theirs in zip(batches, everything[client], strict=False):
            assert torch.equal(ours.smashed, theirs.smashed)
    fewer = [len(stopped[client]) < len(everything[client]) for client in stopped]
    assert fewer == outcome.plan.stopped_P.tolist()


def test_gaps_in_what_is_sent_stay_where_they_are(late_round):
    _, outcome, batches, updates, _ = late_round(method="dtfl", deadline=1.0, send_every=3)
    for place, client in enumerate(batches):
        trained = int(outcome.plan.batches_P[place])
        assert [batch.batch for batch in batches[client]] == list(range(0, trained, 3))
        assert updates[client].examples == outcome.plan.images_P[place]


def test_the_record_says_who_was_stopped(late_round):
    from dtfl_private.training.round_record import round_record

    _, outcome, _, _, _ = late_round(method="dtfl", deadline=1.0)
    assert round_record(outcome, 0.0)["stopped"] == np.flatnonzero(outcome.plan.stopped_P).tolist() != []
    _, plain, _, _, _ = late_round(1, method="dtfl")
    assert "stopped" not in round_record(plain, 0.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "splitfed-v2"}, "--deadline 1.5 is refused: in method splitfed-v2 clients do not train each on"),
        ({"method": "fedgkt"}, "in method fedgkt clients do not train each on its own"),
        ({"method": "centralised"}, "in method centralised clients do not train each on its own"),
        ({"local_epochs": 2}, "is refused with --local-epochs 2: a client weighs by the images"),
        ({"defense": ["dp-weights:noise_multiplier=1"]}, "with dp-weights clients send only when they have trained"),
    ],
)
def test_it_is_refused_where_a_client_cannot_stop_at_any_batch(prepare_tiny, values, words):
    with pytest.raises(InputError, match=words):
        prepare_tiny(deadline=1.5, **values)
