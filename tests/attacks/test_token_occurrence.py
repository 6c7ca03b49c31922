"""Whether a token occurs in a text, and classifiers of texts: exact where places show, blind under noise."""

import math
from dataclasses import replace

import pytest
import torch
from text_views import BATCH, PADDING, client_half, text_view, texts

from dtfl_private.attacking.evidence import Candidates
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.shared.property_classifier import Examples
from dtfl_private.attacks.shared.templates import altered
from dtfl_private.attacks.shared.text_classifier import TextClassifier
from dtfl_private.attacks.token_occurrence import TokenOccurrence, commonest_half, read_log_odds
from dtfl_private.defenses.gaussian_noise import GaussianNoise

CLIENTS = 2


def view_of_texts(blocks, *defenses, auxiliary=96):
    view, truth = text_view([client_half(blocks)] * CLIENTS, *defenses, auxiliary=auxiliary)
    evidence = view._evidence
    view._evidence = replace(evidence, auxiliary=replace(evidence.auxiliary, padding=PADDING))
    return view, truth


def right(view, truth, attack):
    said = attack.infer(view)
    assert said.dtype == torch.int64
    return float((said == attack.values(truth, torch.zeros(len(truth)), view.auxiliary)).double().mean())


def test_the_token_is_the_one_nearest_to_half_of_the_texts_and_never_the_padding():
    made, _ = texts(60, seed=4)
    shares = {
        token: sum(token in row for row in made.tolist()) / 60
        for token in sorted(set(made.flatten().tolist()))
        if token != PADDING
    }
    assert commonest_half(made, PADDING) == min(shares, key=lambda token: abs(shares[token] - 0.5))
    several = torch.tensor([[1, 1, 9], [1, 2, 9], [3, 3, 9], [4, 9, 9]])
    assert commonest_half(several, 9) == 1  # in two of four texts, however often in each
    assert commonest_half(torch.tensor([[0, 5], [1, 5], [5, 5]]), 0) == 1


def test_what_was_read_weighs_as_often_as_it_was_right():
    checked = torch.tensor([1] * 9 + [0] * 19)
    read = checked.clone()
    read[0], read[-1] = 0, 1
    odds = read_log_odds(torch.tensor([1, 0]), read, checked)
    held, without = 8.5 / 10, 1.5 / 20
    expected = [math.log(held / without), math.log((1 - held) / (1 - without))]
    torch.testing.assert_close(odds, torch.tensor(expected, dtype=torch.float64))


def test_it_is_exact_where_each_place_shows_and_no_better_than_guessing_where_noise_covers_all():
    view, truth = view_of_texts(0)
    assert right(view, truth, TokenOccurrence()) == 1.0
    assert right(view, truth, TokenOccurrence(token=7)) == 1.0
    view, truth = view_of_texts(0, GaussianNoise(sd=1000.0))
    attack = TokenOccurrence()
    held = attack.values(truth, torch.zeros(len(truth)), view.auxiliary).double().mean()
    # Of 32 texts a blind guess is right on as many as the commoner value, give or take four deviations.
    assert right(view, truth, attack) <= float(max(held, 1 - held)) + 4 * 0.5 / math.sqrt(len(truth))


def test_a_classifier_of_texts_finds_a_token_at_any_place_and_pays_no_heed_to_padding():
    chance = torch.Generator().manual_seed(0)
    vectors = torch.randn(12, 6, generator=chance)

    def examples(count):
        tokens = torch.randint(12, (count, 7), generator=chance)
        lengths = torch.randint(2, 8, (count, 1), generator=chance)
        real = torch.arange(7) < lengths
        values = ((tokens == 3) & real).any(dim=1).long()
        smashed = vectors[tokens] * real[..., None]
        return Examples(smashed=smashed, sent_labels=tokens[:, 0] % 3, values=values)

    classifier = TextClassifier(examples(300), examples(60), values=2, classes=3, seed=0, device="cpu")
    other = examples(100)
    said = classifier.log_probabilities(other.smashed, other.sent_labels)
    assert float((said.argmax(dim=1) == other.values).double().mean()) > 0.95
    longer = torch.cat([other.smashed, torch.zeros(100, 5, 6)], dim=1)
    torch.testing.assert_close(classifier.log_probabilities(longer, other.sent_labels), said, rtol=0, atol=1e-6)


def test_texts_are_tried_as_they_are():
    made, _ = texts(5, seed=1)
    (only,) = altered(made, ("flip", "crop"))
    assert torch.equal(only, made)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.99, 1.0), (1000.0, 0.3, 0.7)])
def test_members_among_texts_are_matched_unless_noise_covers_all(noise, low, high):
    """Under noise the AUC of 32 members and 32 others is within 0.2 of 0.5 but for one draw in 200; this one is fixed.

    The others are as long as members, text by text: how many tokens a text has shows through any noise.
    """
    view, truth = view_of_texts(1, *([GaussianNoise(sd=noise)] if noise else []))
    own, labels = texts(CLIENTS * BATCH, seed=10**6)
    others = own.clone()
    real = own != PADDING
    drawn = torch.randint(36, own.shape, generator=torch.Generator().manual_seed(9))
    others[real] = drawn[real]
    assert torch.equal(own, truth)
    candidates = Candidates(images=torch.cat([own, others]), labels=torch.cat([labels, labels]))
    view._evidence = replace(view._evidence, candidates=candidates)
    scores = MembershipMatching().scores(view)
    inside, outside = scores[: len(own), None], scores[len(own) :]
    auc = float(((inside > outside).double() + (inside == outside).double() / 2).mean())
    assert low <= auc <= high
