"""Membership by matching and by shadow runs: sharp where records leak, blind where nothing does."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from dtfl_private.attacking.evidence import (
    AttackedRound,
    Auxiliary,
    Candidates,
    Evidence,
    LocalSteps,
    Network,
    TrainingKnowledge,
)
from dtfl_private.attacking.view import View
from dtfl_private.attacks.lira import Lira, halves, likelihood_ratios, scaled
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.defenses.channel_shuffle import ChannelShuffle
from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.leakage.membership_metrics import auc_interval
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.randomness import isolated, stream

MEMBERS = 96


def interval(scores, member):
    scores = scores.double().numpy()
    return auc_interval(scores[member.numpy()][None], scores[~member.numpy()][None], stream(0, "bootstrap"))


def stem():
    with isolated(0, "stem"):
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())


@pytest.fixture
def membership(make_view, small_digits):
    """Make a view of six clients' batches with candidates, and who is a member: ``membership(stem, *defenses)``."""

    def make(half, *defenses, rewrite=None, augmentations=(), digits=small_digits):
        view, _ = make_view(half, *defenses, stems=(half,) * 5, images=digits, auxiliary=200)
        pixels, labels = digits
        evidence = view._evidence
        if rewrite is not None:
            seen = [rewrite(one, evidence.network.program) for one in evidence.round.seen]
            evidence = replace(evidence, round=replace(evidence.round, seen=seen))
        order = torch.from_numpy(stream(0, "candidates").permutation(2 * MEMBERS))
        images = torch.cat([pixels[:MEMBERS], pixels[-MEMBERS:]])[order]
        evidence = replace(
            evidence,
            candidates=Candidates(images=images, labels=torch.cat([labels[:MEMBERS], labels[-MEMBERS:]])[order]),
            network=replace(evidence.network, augmentations=augmentations),
        )
        adversary = find_adversary("server-honest-but-curious")
        view = View(evidence, adversary=adversary, knows="same", attack="membership-matching", seed=0)
        return view, order < MEMBERS

    return make


def test_undefended_matching_finds_every_member(membership):
    view, member = membership(stem())
    assert interval(MembershipMatching().scores(view), member).value > 0.99


def test_matching_knows_nothing_of_shuffled_memberships(membership):
    """The interval misses 0.5 for one shuffle in twenty; this one is fixed."""
    view, member = membership(stem())
    scores = MembershipMatching().scores(view)
    shuffled = member[torch.from_numpy(stream(1, "shuffle").permutation(len(member)))]
    found = interval(scores, shuffled)
    assert found.low <= 0.5 <= found.high


class Independent(nn.Module):
    """Sends noise: nothing of the inputs but their number."""

    def forward(self, inputs):
        return torch.randn(len(inputs), 4, 8, 8)


def test_matching_finds_nothing_where_nothing_is_sent(membership):
    """The interval misses 0.5 for one draw of the noise in twenty; this one is fixed. All labels are alike."""

    def one_label(seen, _):
        return replace(seen, batches=[replace(batch, labels=torch.zeros(16).long()) for batch in seen.batches])

    with isolated(0, "noise"):
        view, member = membership(Independent(), rewrite=one_label)
        view._evidence.candidates.labels.zero_()
        found = interval(MembershipMatching().scores(view), member)
    assert found.low <= 0.5 <= found.high


def test_shuffled_channels_do_not_hide_members(membership):
    view, member = membership(stem(), ChannelShuffle())
    assert interval(MembershipMatching().scores(view), member).value > 0.95
    assert interval(MembershipMatching(adaptive=False).scores(view), member).value < 0.95


def test_noise_hides_members_as_it_grows(membership):
    values = []
    for noise in (0.3, 30.0):
        view, member = membership(stem(), GaussianNoise(sd=noise))
        values.append(interval(MembershipMatching().scores(view), member))
    assert values[0].value > 0.95
    assert values[1].value < values[0].low


def test_values_left_out_do_not_hide_members(membership):
    view, member = membership(stem(), Dropout(p=0.95))
    assert interval(MembershipMatching().scores(view), member).value > 0.99
    assert interval(MembershipMatching(adaptive=False).scores(view), member).value < 0.95


def test_noise_of_a_known_deviation_is_seen_through_as_far_as_it_can_be(membership, digits):
    view, member = membership(stem(), GaussianNoise(sd=5.0), digits=digits)
    assert interval(MembershipMatching().scores(view), member).value > 0.77


def test_mirrored_records_are_found_by_who_knows_that_they_may_be(membership, small_digits):
    def mirrored(seen, program):
        own = slice(16 * seen.download.client, 16 * (seen.download.client + 1))
        images, labels = small_digits[0][own].flip(-1), small_digits[1][own]
        sent = program(seen, True, 5).release(images, labels)
        batch = SmashedBatch(client=seen.download.client, round=1, tier=1, batch=0, smashed=sent, labels=labels)
        return replace(seen, batches=(batch,))

    plain, member = membership(stem(), rewrite=mirrored)
    knowing, _ = membership(stem(), rewrite=mirrored, augmentations=("flip",))
    assert interval(MembershipMatching().scores(knowing), member).value > 0.99
    assert interval(MembershipMatching().scores(plain), member).value < 0.9


def test_the_ratio_is_that_of_two_gaussians():
    rng = np.random.default_rng(0)
    shadows, target = rng.normal(size=(64, 5, 1)), rng.normal(size=(5, 1))
    inside = halves(5, 64, torch.Generator().manual_seed(0))
    found = likelihood_ratios(torch.from_numpy(shadows), inside, torch.from_numpy(target))
    for record in range(5):
        own = inside[:, record].numpy()
        densities = [
            norm.logpdf(target[record, 0], shadows[held, record, 0].mean(), shadows[held, record, 0].std(ddof=1))
            for held in (own, ~own)
        ]
        assert found[record] == pytest.approx(densities[0] - densities[1])


def test_every_record_is_in_half_of_the_shadows():
    inside = halves(33, 8, torch.Generator().manual_seed(0))
    assert inside.sum(dim=0).tolist() == [4] * 33
    assert len({tuple(row) for row in inside.tolist()}) == 8


def test_the_scaled_confidence_is_the_logit_of_the_probability():
    logits, labels = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4
    own = logits.double().softmax(dim=1)[torch.arange(20), labels]
    torch.testing.assert_close(scaled(logits, labels), (own / (1 - own)).log())
    assert scaled(torch.tensor([[100.0, 0.0]]), torch.tensor([0])) == 100


class Overfitted:
    """Models that are surer of what they were trained on; some records are easy for all. Record n is the pixel n."""

    def __init__(self, records, gap):
        self._hard = 2 * torch.randn(records, generator=torch.Generator().manual_seed(0))
        self._gap = gap

    def train(self, name, images, labels):
        chance = torch.Generator().manual_seed(int(images.sum()))
        return {"trained": images.flatten(), "noise": torch.randn(len(self._hard), generator=chance)}

    def logits(self, model, images):
        record = images.flatten().long()
        trained = torch.isin(images.flatten(), model["trained"]).float()
        margin = self._hard[record] + self._gap * trained + model["noise"][record]
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


@pytest.fixture
def shadowed():
    """Make a view of 300 candidates, half of them members, of a planted network; and who is a member."""

    def make(gap):
        images, labels = torch.arange(300.0).view(-1, 1, 1, 1), torch.zeros(300, dtype=torch.int64)
        member = torch.from_numpy(stream(0, "members").permutation(300) < 150)
        runs = Overfitted(300, gap)
        other = -1 - torch.arange(50.0).view(-1, 1, 1, 1)
        evidence = Evidence(
            round=AttackedRound(seen=[], local_steps=LocalSteps(optimizer="sgd", lr=0.05)),
            network=Network(
                program=lambda *_: None,  # type: ignore[arg-type,return-value] # not asked for
                input_shape=(1, 1, 1),
                classes=2,
                tier=1,
                cut_shape=(1,),
                records=160,
            ),
            auxiliary=Auxiliary(
                name="",
                images=other,
                labels=torch.zeros(50, dtype=torch.int64),
                validation_images=other,
                validation_labels=torch.zeros(50, dtype=torch.int64),
            ),
            training=TrainingKnowledge(
                initial_model={},
                final_model=runs.train("victim", images[member], labels[member]),
                logits=runs.logits,
                honest=lambda _: None,  # type: ignore[arg-type,return-value] # not asked for
                shadows=SimpleNamespace(train=runs.train),
            ),
            candidates=Candidates(images=images, labels=labels),
        )
        view = View(evidence, adversary=find_adversary("model-recipient"), knows="same", attack="lira", seed=0)
        return view, member

    return make


def test_shadow_runs_find_members_better_than_confidence_alone(shadowed):
    view, member = shadowed(2.0)
    confidence = scaled(view.logits(view.final_model, view.candidates.images), view.candidates.labels)
    found = interval(Lira(shadows=16).scores(view), member)
    assert found.low > interval(confidence, member).high > 0.5
    # Two unit normals 2 apart: Phi(2 / sqrt 2) = 0.92, less what 16 shadows cannot tell.
    assert 0.85 < found.value < norm.cdf(2 / np.sqrt(2)) + 0.03


def test_shadow_runs_find_nothing_where_training_leaves_no_trace(shadowed):
    """The interval misses 0.5 for one set of records in twenty; this one is fixed."""
    view, member = shadowed(0.0)
    found = interval(Lira(shadows=8).scores(view), member)
    assert found.low <= 0.5 <= found.high


def test_shadows_are_as_many_records_as_the_victims(shadowed):
    view, _ = shadowed(1.0)
    sizes = []
    train = view._evidence.training.shadows.train
    view._evidence.training.shadows.train = lambda *given: sizes.append(len(given[1])) or train(*given)
    Lira(shadows=4).scores(view)
    assert sizes == [160] * 4
