from dataclasses import dataclass, replace
from typing import get_args

import dp_accounting
import pytest
from dp_accounting import pld
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.privacy.accounting import rounded_up, statements, steps_of, worst
from dtfl_private.privacy.ledger import charge
from dtfl_private.privacy.sampled_gaussian_epsilon import rdp_epsilon
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    Kind,
    PrivacyTarget,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
    Undefended,
)

TARGET = PrivacyTarget(delta=1e-5)


def steps(count, noise=1.16, rate=0.04, target=TARGET):
    return SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=count, target=target)


def releases(count, noise=10.0, target=TARGET):
    return GaussianRelease(noise_multiplier=noise, releases=count, target=target)


def only(ledger):
    (statement,) = statements(ledger)
    return statement


def test_nothing_released_is_nothing_said():
    assert statements(()) == ()


def test_weights():
    said = only((steps(1250),))
    assert (said.what, said.delta, said.per) == ("weights", 1e-5, "record added or removed")
    # By Renyi DP 7.968, by privacy loss distributions 7.302.
    assert said.epsilon == pytest.approx(7.33, abs=0.02)
    assert f"released client-side weights: ({rounded_up(said.epsilon)}, 1e-05)-DP" in said.sentence
    assert "1250 DP-SGD steps" in said.sentence
    assert "neither smashed data nor labels" in said.sentence


def test_one_ledger_survives_changes_of_tier_and_of_the_delta():
    """Tiers 2, 3, 1, 2 with 25 steps each are a hundred steps; of two deltas the smaller one is used for all."""
    ledger = ()
    for _tier in (2, 3, 1, 2):
        ledger = charge(ledger, [steps(25)])
    assert only(ledger) == only((steps(100),))
    strict = PrivacyTarget(delta=1e-7)
    assert only((steps(50), steps(50, target=strict))).epsilon == only((steps(100, target=strict),)).epsilon


def test_what_was_sent_once_without_the_defense_has_no_guarantee_of_that_kind_and_others_keep_theirs():
    ledger = charge(
        (), [releases(3), Undefended(instead_of="GaussianRelease", rounds=2), RandomizedResponse(epsilon=1)]
    )
    without, labels = statements(ledger)
    assert (without.what, without.epsilon, without.delta, without.per) == ("smashed", None, None, None)
    assert "no guarantee (no (epsilon, delta)) over the whole run: a client sent them in 2 rounds" in without.sentence
    assert labels.epsilon == 1


def test_a_client_without_a_guarantee_is_worse_off_than_any_with_one_and_they_are_counted():
    bare = Undefended(instead_of="GaussianRelease")
    ledgers = {0: (releases(3, 0.1),), 1: charge((), [releases(1, 9.0), bare]), 2: (bare,)}
    ((client, said),) = worst(ledgers)
    assert (client, said.epsilon) == (1, None)
    assert said.sentence.endswith("so it is for 2 of 3 clients")
    assert worst({0: ledgers[0]})[0][1].epsilon is not None


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_guarantee_can_be_lost(kind):
    said = only((Undefended(instead_of=kind, rounds=1),))
    assert said.epsilon is None
    assert "in one round without the defense" in said.sentence
    assert said.what == Undefended(instead_of=kind).what


def test_smashed_data_are_accounted_exactly_over_several_noise_levels():
    assert only((releases(100, 10.0),)).epsilon == pytest.approx(9.997, abs=1e-3)
    mixed = only((releases(50, 10.0), releases(2, 2.0)))
    assert mixed.epsilon == pytest.approx(9.997, abs=1e-3)
    assert (mixed.what, mixed.delta, mixed.per) == ("smashed", 1e-5, "record replaced")
    assert "smashed data: (10, 1e-05)-DP" in mixed.sentence
    assert "50 with noise 10 x clip and 2 with noise 2 x clip" in mixed.sentence
    assert "given the client-side weights" in mixed.sentence


def of_places(count, *, apart, noise=10.0, places=16, target=TARGET):
    return replace(releases(count, noise, target), places=places, apart=apart)


def by_pld(*events):
    """Return the epsilon of (noise over what a unit moves a release by, how often) by privacy loss distributions."""
    composed = dp_accounting.ComposedDpEvent(
        [dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise), count) for noise, count in events]
    )
    return pld.PLDAccountant(value_discretization_interval=1e-3).compose(composed).get_epsilon(1e-5)


def test_a_token_counts_as_its_own_place_where_places_are_apart_and_as_the_whole_text_elsewhere():
    """Replacing a place moves a release by 2 clips, sixteen of them by 8; all releases of a client add up."""
    ledger = charge((), [of_places(4, apart=True), of_places(2, apart=False), releases(1, 20.0)])
    token, record = statements(ledger)
    assert (token.what, token.per, record.per) == ("smashed", "token replaced", "record replaced")
    assert token.epsilon == pytest.approx(by_pld((10 / 2, 4), (10 / 8, 2), (20 / 2, 1)), abs=0.01)
    assert record.epsilon == pytest.approx(by_pld((10 / 8, 6), (20 / 2, 1)), abs=0.01)
    assert f"({rounded_up(token.epsilon)}, 1e-05)-DP per token replaced, over all its releases" in token.sentence
    assert "4 with noise 10 x clip on the one place that a token changes and 2 with" in token.sentence
    assert "2 with noise 10 x clip on each of the 16 places that a token may change" in token.sentence
    assert "k tokens of a text together count as k times as many releases" in token.sentence
    assert f"({rounded_up(record.epsilon)}, 1e-05)-DP per record, and so per token, replaced" in record.sentence
    assert all("nor how many tokens a text has" in said.sentence for said in (token, record))


def test_k_tokens_of_a_text_cost_no_more_than_k_times_as_many_releases():
    # Three places that move by 2 clips each move by 2 sqrt(3) together, as one place would in three releases.
    together = by_pld((10 / (2 * 3**0.5), 4))
    assert statements((of_places(12, apart=True),))[0].epsilon == pytest.approx(together, abs=0.01)


def test_where_places_have_met_no_epsilon_of_a_token_alone_is_stated():
    said = only((of_places(2, apart=False),))
    assert said.per == "record replaced"
    assert said.epsilon == pytest.approx(by_pld((10 / 8, 2)), abs=0.01)


def test_the_worst_client_per_token_may_be_another_than_per_record():
    ledgers = {0: (of_places(40, apart=True),), 1: (of_places(4, apart=False),), 2: (of_places(1, apart=False),)}
    found = worst(ledgers)
    assert [(client, said.per) for client, said in found] == [(1, "token replaced"), (0, "record replaced")]
    assert [said.epsilon for _, said in found] == [only(ledgers[1]).epsilon, statements(ledgers[0])[1].epsilon]
    assert [said.per for _, said in worst({client: ledgers[client] for client in (1, 2)})] == ["record replaced"]


def test_a_client_that_sent_texts_undefended_has_no_guarantee_per_token_either_which_is_said_once():
    bare = Undefended(instead_of="GaussianRelease")
    ((client, said),) = worst({0: (of_places(1, apart=True),), 1: charge((), [of_places(1, apart=True), bare])})
    assert (client, said.epsilon) == (1, None)


def test_labels_cost_their_one_draw():
    said = only((RandomizedResponse(epsilon=2.0),))
    assert (said.what, said.epsilon, said.delta, said.per) == ("labels", 2.0, 0.0, "label replaced")
    assert "labels: 2-DP per label replaced" in said.sentence
    assert only((RandomizedResponse(epsilon=2.0), RandomizedResponse(epsilon=1.5))).epsilon == 3.5


def test_a_reconstruction_bound_has_no_epsilon_and_falls_with_every_release():
    said = only((ReconstructionBound(mse=1.0, releases=2), ReconstructionBound(mse=0.25, releases=1)))
    assert (said.what, said.epsilon, said.delta) == ("smashed", None, None)
    assert "from its 3 releases with a mean squared error below 0.167" in said.sentence
    assert "there is no epsilon" in said.sentence


def test_each_kind_has_its_own_statement():
    ledger = (RandomizedResponse(epsilon=2.0), releases(1), steps(10), ReconstructionBound(mse=1.0, releases=1))
    assert [said.what for said in statements(ledger)] == ["weights", "smashed", "smashed", "labels"]


def test_what_it_does_not_know_it_refuses():
    @dataclass(frozen=True)
    class Hope:
        pass

    with pytest.raises(InputError, match="of type Hope, which cannot be accounted for"):
        statements((Hope(),))


def test_the_worst_client_of_each_kind_is_named():
    ledgers = {
        5: (steps(10), releases(30)),
        2: (steps(40), releases(2)),
        7: (RandomizedResponse(epsilon=1.0),),
        1: (),
    }
    found = worst(ledgers)
    assert [(client, said.what) for client, said in found] == [(2, "weights"), (5, "smashed"), (7, "labels")]
    assert found[0][1] == statements((steps(40),))[0]


def test_the_worst_client_is_found_by_the_figure_that_is_stated_and_not_by_the_fast_bound():
    # The first has the higher epsilon by Renyi DP (5.62 and 5.39), the second the higher one by the tight accountant.
    ledgers = {1: (steps(10, noise=0.5, rate=0.01),), 2: (steps(600),)}
    fast = [rdp_epsilon(steps_of(ledger), 1e-5) for ledger in ledgers.values()]
    ((client, said),) = worst(ledgers)
    assert (client, fast[0] > fast[1]) == (2, True)
    assert said == only(ledgers[2])


def test_of_reconstruction_bounds_the_lowest_is_the_worst():
    ledgers = {n: (ReconstructionBound(mse=1.0, releases=n),) for n in (1, 3, 2)}
    ((client, said),) = worst(ledgers)
    assert client == 3
    assert "below 0.333" in said.sentence


@given(st.floats(1e-6, 1e9))
def test_an_epsilon_is_never_printed_below_what_it_is(epsilon):
    printed = float(rounded_up(epsilon))
    assert epsilon * (1 - 1e-8) <= printed <= epsilon * 1.0101


@pytest.mark.parametrize(
    ("epsilon", "text"), [(0, "0"), (7.968, "7.97"), (9.9973, "10"), (284.39, "285"), (0.12542, "0.126"), (2.0, "2")]
)
def test_epsilons_are_printed_with_three_digits(epsilon, text):
    assert rounded_up(epsilon) == text
