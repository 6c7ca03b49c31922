"""Clients compared: made-up attacks that read one client only, and where nothing can be compared."""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from audit_progress import HeardJobs
from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.base import AttackFacts, MembershipInference
from dtfl_private.auditing.attack_trainings import attack_training
from dtfl_private.auditing.by_client import by_client, client_of_record, entropy_bits, nearest_distance, with_holm
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.data.preprocess import unit
from dtfl_private.leakage.image_metrics import ssim
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.client_comparison import ClientComparison
from dtfl_private.verdicts.findings import NotTested

AMORTISED = AttackFacts(needs=SEES, recipe="a linear map, learnt once", amortised=True)


@dataclass(frozen=True, kw_only=True)
class Amortised(LeastSquares):
    facts: ClassVar[AttackFacts] = AMORTISED


@dataclass(frozen=True, kw_only=True)
class OfOne(Amortised):
    """Reads the records of one client; of the others it returns the mean image."""

    client: int = 1

    def reconstruct(self, view):
        read, place = super().reconstruct(view), 0
        for seen in view.seen:
            count = sum(len(batch.labels) for batch in seen.batches)
            if seen.download.client != self.client:
                read[place : place + count] = view.auxiliary.images.mean(dim=0)
            place += count
        return read


@dataclass(frozen=True, kw_only=True)
class Names(MembershipInference):
    """Gives each candidate a number of its own, which says nothing."""

    facts: ClassVar[AttackFacts] = AMORTISED

    def scores(self, view):
        return torch.arange(len(view.candidates.labels)).sin()


@pytest.fixture
def compare(opened, plan, monkeypatch):
    """Attack a run, and compare its clients: ``compare(attacks, listener, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])

    def done(attacks, listener=None, **settings):
        audit = plan(opened(), attacks, **{"tiers": (1, 2), "seeds": 1, **settings})
        training = AttackedTraining(run=audit.opened.folder, undefended=None, folder=audit.folder)
        report = attack_training(audit, training, Callback())
        return by_client(audit, report, listener or Callback()), report, audit

    return done


def test_a_client_whose_records_are_read_is_named(compare):
    found, _, audit = compare([OfOne()])
    assert [(one.tier, one.attack, one.metric) for one in found] == [(1, "of-one", "ssim"), (2, "of-one", "ssim")]
    one = found[0]
    assert one.more_exposed == [1]
    (read,) = (client for client in one.clients if client.client == 1)
    assert read.shrunk > max(client.ci_high for client in one.clients if client.client != 1)
    assert read.records == len(audit.opened.prepared.worker.parts[1])


def test_a_record_counts_by_its_way_from_the_guess_to_the_truth(compare):
    found, report, audit = compare([Amortised()], victims=1000, tiers=(1,))
    (verdict,), (one,) = report.verdicts, found
    truth, guess = verdict.pictured.truth, verdict.pictured.guesses[0]
    way = (ssim(guess, truth) - ssim(verdict.pictured.baseline, truth)) / np.maximum(
        1 - ssim(verdict.pictured.baseline, truth), 0.05
    )
    holders = client_of_record(audit.opened)[verdict.scored.records.numpy()]
    assert sorted(set(holders.tolist())) == [client.client for client in one.clients]
    for client in one.clients:
        own = holders == client.client
        assert client.n == own.sum()
        assert client.recovered == pytest.approx(np.clip(way[own], -1, 1).mean())


def test_members_are_counted_for_the_clients_that_hold_them(compare):
    found, _, audit = compare([Names()], tiers=(1,))
    (one,) = found
    assert (one.metric, one.guess) == ("auc", "chance")
    assert not one.differs
    sizes = {client: len(part) for client, part in enumerate(audit.opened.prepared.worker.parts)}
    assert all(client.n <= sizes[client.client] for client in one.clients)
    assert all(client.recovered == pytest.approx(2 * client.value - 1) for client in one.clients)


def test_members_are_known_by_their_places_among_the_candidates(opened, plan):
    audit = plan(opened(), [Names()], tiers=(1,))
    setup, job = audit.attack_plan.setup, audit.jobs[0]
    victims = audit.attack_plan.rounds.of(job, None).victims
    candidates, member = setup.candidates(victims)
    records = setup.candidate_members(victims)
    assert torch.equal(candidates.images[member], unit(opened().prepared.worker.train_images[records]))
    assert set(records.tolist()) <= set(victims.records.tolist())


def test_guesses_are_cached(compare):
    first, second = HeardJobs(), HeardJobs()
    once, again = compare([Amortised()], first)[0], compare([Amortised()], second)[0]
    assert once == again
    labels = [f"amortised, tier {tier}, seed 0, by client" for tier in (1, 2)]
    assert first.announced == labels
    assert second.kept == {label: [True] for label in labels}


@pytest.mark.parametrize(
    ("attacks", "settings", "why"),
    [
        ([Amortised()], {"by_client": "off"}, r"not asked for \(--by-client on\)"),
        ([LeastSquares()], {}, "no attack that learns once"),
    ],
)
def test_where_clients_are_not_compared_it_is_said_why(compare, attacks, settings, why):
    found, _, _ = compare(attacks, **settings)
    assert isinstance(found, NotTested)
    assert re.match(why, found.why)


def _comparison(p_value: float) -> ClientComparison:
    client = {"n": 1, "value": 0.0, "guess": None, "recovered": 0.0, "shrunk": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    clients = [
        {
            **client,
            "client": number,
            "p_value": 0.01,
            "above": True,
            "records": 3,
            "label_entropy": 0.0,
            "oddness": None,
        }
        for number in (0, 1)
    ]
    given = {"tier": 1, "attack": "a", "metric": "ssim", "guess": "g", "deviation": 0.1, "adjusted": p_value}
    return ClientComparison.model_validate({**given, "p_value": p_value, "clients": clients})


def test_all_comparisons_together_are_judged_by_holm():
    family = [_comparison(p) for p in (0.03, 0.01, 0.2, 0.03)]
    assert [with_holm(one, family).adjusted for one in family] == pytest.approx([0.09, 0.04, 0.2, 0.09])
    assert [with_holm(one, family).more_exposed for one in family] == [[], [0, 1], [], []]


def test_traits_are_what_they_say():
    assert entropy_bits(np.array([4, 4, 4])) == 0
    assert entropy_bits(np.array([0, 1, 2, 3, 0, 1, 2, 3])) == pytest.approx(2)
    images = torch.tensor([[[[0.0, 0.0]]], [[[1.0, 1.0]]]])
    assert nearest_distance(images, torch.tensor([[[[0.0, 0.5]]], [[[1.0, 0.5]]]])) == pytest.approx(
        [np.sqrt(0.125), np.sqrt(0.125)]
    )
