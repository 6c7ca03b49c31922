"""What is drawn once and repeated: two defenses of a kind, in different tiers, are two draws, and both count."""

import math

import pytest
import torch

from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.defenses.pixel_dp import PixelDp
from dtfl_private.privacy.accounting import statements
from dtfl_private.privacy.gaussian_epsilon import gaussian_epsilon
from dtfl_private.privacy.ledger import charge, from_json, to_json
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.conditional import only_where
from dtfl_private.protection.cost import RoundRelease
from dtfl_private.protection.defense_chain import DefenseChain

ROUND = RoundRelease(records=8, batch_size=4, steps=2, epochs=1)


def ledger_of(chain: DefenseChain, *tiers: int):
    ledger = ()
    for tier in tiers:
        ledger = charge(ledger, chain.at(tier).guarantees(ROUND))
    return ledger


def ruled(first, second) -> DefenseChain:
    return DefenseChain([GaussianNoise(), only_where("tier<=2", first), only_where("tier>=3", second)])


def labels_at(chain: DefenseChain, tier: int) -> torch.Tensor:
    records = torch.arange(400)
    at = ClientRound(seed=1, client=0, round=tier, tier=tier, records=400, classes=10)
    return chain.at(tier).protect_labels(torch.zeros(400, dtype=torch.int64), records, at)


@pytest.mark.parametrize("second", [LabelRr(epsilon=2), LabelRr(epsilon=2, correct=False), LabelRr(epsilon=1)])
def test_epsilon_of_labels_is_that_of_all_draws_that_a_client_showed(second):
    chain = ruled(LabelRr(epsilon=2), second)
    drawn_anew = not torch.equal(labels_at(chain, 1), labels_at(chain, 3))
    assert drawn_anew == (second != LabelRr(epsilon=2))
    (said,) = statements(ledger_of(chain, 1, 3, 1, 3))
    assert said.epsilon == pytest.approx(2 + second.epsilon * drawn_anew)
    (alone,) = statements(ledger_of(chain, 3, 3))
    assert alone.epsilon == pytest.approx(second.epsilon)


@pytest.mark.parametrize(("clip", "draws"), [(5.0, 1), (6.0, 2)])
def test_noise_of_two_clips_is_two_draws(clip, draws):
    first, second = (PixelDp(noise_multiplier=2.0, clip=own) for own in (5.0, clip))
    (said,) = statements(ledger_of(ruled(first, second), 1, 3, 3, 1))
    assert said.epsilon == pytest.approx(gaussian_epsilon(math.sqrt(draws), 1e-5))


def test_which_draw_it_was_survives_a_checkpoint_and_older_ones_have_one():
    ledger = ledger_of(ruled(LabelRr(epsilon=2), LabelRr(epsilon=2, correct=False)), 1, 3)
    assert from_json(to_json(ledger)) == ledger
    assert [entry["draw"] for entry in to_json(ledger)] == [0, 1]
    older = [{"kind": "RandomizedResponse", "epsilon": 2.0}]
    assert from_json(older) == charge((), LabelRr(epsilon=2).guarantees(ROUND))
