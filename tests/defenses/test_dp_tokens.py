"""dp-activations:unit=token: each place of a text by itself, and what may be said of tokens and of texts."""

import math
from dataclasses import replace

import dp_accounting
import pytest
import torch
from dp_accounting.pld import PLDAccountant

from dtfl_private import only_where
from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.accounting import released_epsilon
from dtfl_private.privacy.calibrate import noise_for_releases
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RoundRelease, RunFacts, TokenPlaces
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, within_clip
from dtfl_private.protocol.guarantees import GaussianRelease, PrivacyTarget, Undefended
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.protocol.vocabulary import Vocabulary

LENGTH, WIDTH = 16, 8
PLACES = TokenPlaces(most=LENGTH, apart_tiers=1)
RUN = RunFacts(rounds=5, batch_size=4, local_epochs=1, classes=3, records_K=(100, 250), tiers=(1, 2), places=PLACES)
ROUND = RoundRelease(records=100, batch_size=4, steps=25, epochs=1)
HARDLY_ANY = 1e-9
TARGET = PrivacyTarget(delta=1e-5)


def at() -> ClientRound:
    return ClientRound(seed=1, client=3, round=2, tier=1, records=20, classes=3)


def message(smashed: torch.Tensor) -> SmashedBatch:
    return SmashedBatch(client=3, round=2, tier=1, batch=0, smashed=smashed, labels=torch.zeros(len(smashed)).long())


def drawn(records: int = 3) -> torch.Tensor:
    return 5 * torch.randn(records, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tokens_dp(**settings: float | None) -> DpActivations:
    return DpActivations(unit="token", **settings)


def test_each_place_is_clipped_by_itself():
    before, clip = drawn(), 9.0
    after = tokens_dp(noise_multiplier=HARDLY_ANY, clip=clip).protect_batch(message(before), at()).smashed
    scaled = 0
    for record in range(len(before)):
        for place in range(LENGTH):
            vector = before[record, place]
            length = math.sqrt(sum(float(value) ** 2 for value in vector))
            torch.testing.assert_close(after[record, place], vector * min(1, clip / length), rtol=2e-6, atol=1e-7)
            scaled += length > clip
    assert 0 < scaled < 3 * LENGTH


def test_without_a_clip_it_is_that_of_a_place_and_so_is_the_noise():
    zeros = torch.zeros(200, LENGTH, WIDTH)
    noisy = tokens_dp(noise_multiplier=3.0).protect_batch(message(zeros), at()).smashed
    # 25,600 normal values: a deviation of the deviation of 0.4 %; five of them.
    assert float(noisy.std()) == pytest.approx(3 * math.sqrt(WIDTH / 2), rel=0.022)
    cut = Cut(tier=1, input_shape=(16,), cut_shape=(16, 8), smashed_bytes=512, forward_macs=1, batch_size=4)
    assert tokens_dp(noise_multiplier=3.0).known_noise(cut).std == 3 * math.sqrt(WIDTH / 2)


def test_replacing_a_token_moves_one_place_by_2c_and_replacing_the_text_all_by_2c_times_the_root_of_their_number():
    vectors, clip = drawn(1), 2.0
    defense = tokens_dp(clip=clip)
    of_text = defense.protect_batch(message(vectors), at()).smashed
    one = vectors.clone()
    one[0, 4] = -one[0, 4]
    moved = defense.protect_batch(message(one), at()).smashed - of_text
    assert float(moved.norm()) == pytest.approx(2 * clip, rel=1e-5)
    assert not moved[0, [place for place in range(LENGTH) if place != 4]].any()
    moved = defense.protect_batch(message(-vectors), at()).smashed - of_text
    assert float(moved.norm()) == pytest.approx(2 * clip * math.sqrt(LENGTH), rel=1e-5)


@pytest.mark.parametrize(("tier", "rows"), [(1, 1), (2, LENGTH)])
def test_a_token_moves_its_own_row_behind_the_embedding_and_all_rows_deeper(tier, rows):
    model = build_model(
        "transformer:depth=2,width=8,heads=2,dropout=0,cuts=all",
        input_shape=(LENGTH,),
        classes=3,
        norm="group",
        seed=0,
        tokens=Vocabulary(size=50),
    ).eval()
    texts = torch.arange(LENGTH).repeat(2, 1)
    texts[1, 3] = 44
    with torch.no_grad():
        smashed = model[:tier](texts)
    sent = tokens_dp(noise_multiplier=HARDLY_ANY, clip=0.01).protect_batch(message(smashed), at()).smashed
    moved = (sent[0] - sent[1]).norm(dim=1)
    assert int((moved > 1e-8).sum()) == rows
    assert float(moved.norm()) <= 2 * 0.01 * math.sqrt(rows)


def test_what_is_stated_is_of_tokens_where_they_are_apart_and_of_the_text_elsewhere():
    chain = DefenseChain([tokens_dp(noise_multiplier=2.0)]).over_places(PLACES)
    release = GaussianRelease(noise_multiplier=2.0, releases=1, target=TARGET, places=LENGTH, apart=True)
    assert list(chain.at(1).guarantees(ROUND)) == [release]
    assert list(chain.at(2).guarantees(ROUND)) == [replace(release, apart=False)]
    assert list(chain.guarantees(ROUND)) == [replace(release, apart=False)]  # of a tier that nobody names
    assert [[case.tier for case in cases] for cases, _ in chain.variants()] == [[1], [2]]
    together = chain.over_places(replace(PLACES, apart_tiers=0))
    assert list(together.at(1).guarantees(ROUND)) == [replace(release, apart=False)]
    assert len(together.variants()) == 1
    # Nothing is claimed of texts of which nobody says how long they are.
    assert list(DefenseChain([tokens_dp(noise_multiplier=2.0)]).guarantees(ROUND)) == []


@pytest.mark.parametrize(
    ("texts", "apart"),
    [
        (["dp-activations:unit=token", "token-shuffle"], True),
        (["dp-activations:unit=token", "gaussian-noise"], True),
        (["distance-correlation", "label-rr", "dp-activations:unit=token"], True),
        (["token-shuffle", "dp-activations:unit=token"], False),
        # It scales a text as a whole, inside the forward pass.
        (["dp-activations:unit=token", "information-bottleneck"], False),
    ],
)
def test_what_changes_a_text_before_it_may_carry_tokens_to_other_places(texts, apart):
    chain = DefenseChain([create("defense", text) for text in texts]).over_places(PLACES)
    (stated,) = [one for one in chain.at(1).guarantees(ROUND) if isinstance(one, GaussianRelease)]
    assert (stated.places, stated.apart) == (LENGTH, apart)
    calibrated = DefenseChain([create("defense", f"{text}{',epsilon=8' * ('unit' in text)}") for text in texts])
    found = calibrated.over_places(PLACES).calibrated(replace(RUN, tiers=(1,)))
    noise = next(member.noise for member in found if isinstance(member, DpActivations))
    assert noise == noise_for_releases(PrivacyTarget(delta=1e-5, epsilon=8.0), RUN.rounds * (1 if apart else LENGTH))


def test_its_rules_in_two_tiers_do_not_disturb_one_another():
    ruled = [only_where(rule, tokens_dp(epsilon=8.0)) for rule in ("tier>=2", "tier=1")]
    chain = DefenseChain(ruled).over_places(PLACES).calibrated(RUN)
    shallow, deep = (next(iter(chain.at(tier))).noise for tier in (1, 2))
    assert deep == pytest.approx(math.sqrt(LENGTH) * shallow, rel=2e-3)
    assert [one.apart for tier in (1, 2) for one in chain.at(tier).guarantees(ROUND)] == [True, False]


def test_texts_sent_where_its_rule_does_not_hold_leave_no_guarantee():
    chain = DefenseChain([only_where("tier=1", tokens_dp(noise_multiplier=2.0))]).over_places(PLACES)
    assert [one.apart for one in chain.at(1).guarantees(ROUND)] == [True]
    assert list(chain.at(2).guarantees(ROUND)) == [Undefended(instead_of="GaussianRelease")]


@pytest.mark.parametrize(("tiers", "changed"), [((1,), 1), ((1, 2), LENGTH), ((2,), LENGTH), ((), LENGTH)])
def test_calibrated_noise_is_enough_in_every_tier_by_dp_accounting(tiers, changed):
    chain = DefenseChain([tokens_dp(epsilon=6.0)]).over_places(PLACES)
    (defense,) = chain.calibrated(replace(RUN, tiers=tiers))
    # Replacing a token moves a place by twice the clip; so do all places of the text where it may reach them.
    event = dp_accounting.GaussianDpEvent(defense.noise / (2 * math.sqrt(changed)))
    spent = (
        PLDAccountant(value_discretization_interval=1e-3)
        .compose(dp_accounting.SelfComposedDpEvent(event, RUN.rounds))
        .get_epsilon(1e-5)
    )
    assert 5.95 < spent <= 6.01
    places = replace(PLACES, apart_tiers=1 if changed == 1 else 0)
    (stated,) = DefenseChain([defense]).over_places(places).at(1).guarantees(replace(ROUND, epochs=RUN.rounds))
    assert released_epsilon([stated], 1e-5, "token") == pytest.approx(spent, abs=0.02)


def test_an_attacker_reads_places_that_were_clipped_by_themselves():
    values = drawn().float()
    reading = tokens_dp(noise_multiplier=0.5, clip=9.0).read(Reading.of(values))
    norms = within_clip(reading, values).norm(dim=-1)
    torch.testing.assert_close(norms, values.norm(dim=-1).clamp(max=9.0))
    assert (float(reading.deviation), bool((norms < 8.9).any())) == (4.5, True)


def test_it_is_refused_where_there_are_no_places_and_where_a_token_would_be_given_away():
    cut = Cut(tier=1, input_shape=(16,), cut_shape=(16, 8), smashed_bytes=512, forward_macs=1, batch_size=4)
    tokens_dp().check(cut)
    for changed in ({"input_shape": (3, 8, 8)}, {"cut_shape": (8,)}, {"cut_shape": (4, 8)}):
        with pytest.raises(InputError, match=r"dp-activations:unit=token clips the places of texts.*use unit=record"):
            tokens_dp().check(replace(cut, **changed))
    says = r"delta=0.001 is not below 1/4000, for a client of 250 records of 16 tokens: .* use delta=3e-05 or less"
    with pytest.raises(InputError, match=says):
        tokens_dp(delta=1e-3).calibrated(RUN)
    DpActivations(delta=1e-3).calibrated(RUN)
    with pytest.raises(InputError, match="cannot be met in 5 releases of each record in all of its 16 places"):
        tokens_dp(epsilon=1e-5).calibrated(RUN)
