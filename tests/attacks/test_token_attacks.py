"""Attacks that read tokens: the trained network and the search, on small texts behind a tiny Transformer."""

from dataclasses import replace

import pytest
import torch

from dtfl_private.attacking.base import Target, name_of
from dtfl_private.attacks.shared.text_search import Weights
from dtfl_private.attacks.shared.token_inverters import trained_readers
from dtfl_private.attacks.token_inverter import TokenInverter
from dtfl_private.attacks.token_search import TokenSearch, Way
from dtfl_private.errors import InputError
from dtfl_private.leakage.token_baselines import ATTAINABLE, TOKEN_BASELINES, KnownTexts
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain
from tests.attacks.text_views import (
    BATCH,
    PADDING,
    TOKENS,
    UNSEEN,
    VOCABULARY,
    accuracy,
    client_half,
    text_view,
    texts,
)

INVERTER = TokenInverter(size="small", steps=60)
# A reader that is not done yet leaves something to be found.
SEARCH = TokenSearch(size="small", reader_steps=40, steps=150)


@pytest.fixture(scope="module")
def half():
    return client_half(embedding=0.5)


@pytest.fixture(scope="module")
def kept():
    return {}


def test_the_inverter_reads_texts_behind_a_block(half, kept):
    view, truth = text_view([half], kept=kept)
    found = INVERTER.tokens(view)
    assert found.dtype == torch.int64
    assert torch.equal(found == PADDING, truth == PADDING)
    assert accuracy(found, truth) > 0.9


def test_it_reads_tokens_that_its_own_texts_never_hold_for_all_are_put_into_them(half, kept):
    victims = texts(BATCH, seed=5, tokens=TOKENS)
    view, truth = text_view([half], kept=kept, victims=victims)
    unseen = (truth >= UNSEEN) & (truth != PADDING)
    assert int(unseen.sum()) > 5
    assert float((INVERTER.tokens(view) == truth)[unseen].double().mean()) > 0.7


def test_each_download_has_a_network_of_its_own_that_the_search_shares(half):
    kept: dict = {}
    view, truth = text_view([half, client_half(seed=1, embedding=0.5)], kept=kept)
    inverter = replace(INVERTER, steps=60)
    assert accuracy(inverter.tokens(view), truth) > 0.9
    assert len([name for name in kept if name.startswith("token reader/")]) == 2
    before = set(kept)
    search = replace(SEARCH, reader_steps=60, steps=2)
    search.tokens(view)
    assert {name.split("/")[0] for name in set(kept) - before} == {"token search"}


def test_where_nothing_can_be_read_it_returns_the_best_trivial_guess_bit_for_bit(half):
    view, truth = text_view([half], create("defense", "gaussian-noise:sd=1000"), auxiliary=64)
    own, (batch,) = view.auxiliary, view.seen[0].batches

    def guessed(name, labels, like):
        known = KnownTexts(
            sequences=own.images, labels=own.labels, victim_labels=labels, truth=like, vocabulary=VOCABULARY
        )
        return TOKEN_BASELINES[name](known)

    right = {
        name: accuracy(guessed(name, own.validation_labels, own.validation_images), own.validation_images)
        for name in ATTAINABLE
    }
    best = max(right, key=right.__getitem__)
    expected = guessed(best, batch.labels, truth).where(truth != PADDING, PADDING)
    for attack in (replace(INVERTER, steps=2), replace(SEARCH, reader_steps=2, steps=10)):
        assert torch.equal(attack.tokens(view), expected)


@pytest.fixture(scope="module")
def hard():
    """Tokens that the blocks nearly hide, and a reader that is not done."""
    view, truth = text_view([client_half(embedding=0.05)])
    readers = trained_readers(view, TokenInverter(size="small", steps=SEARCH.reader_steps).training)
    return view, truth, readers


def test_the_search_finds_more_than_what_it_starts_from(hard):
    view, truth, readers = hard
    read = readers.of(view.seen[0]).tokens(view.seen[0].batches[0].smashed, view.seen[0].batches[0].labels)
    assert accuracy(SEARCH.tokens(view), truth) > accuracy(read, truth)


@pytest.mark.parametrize("steps", [3, 40])
def test_by_what_it_minimises_the_end_is_never_worse_than_what_the_network_reads(hard, steps):
    view, _, readers = hard
    seen = view.seen[0]
    batch, reader = seen.batches[0], readers.of(seen)
    search = replace(SEARCH, steps=steps).search(view, seen, reader, Way(Weights(1.0, 0.3)))
    program = SEARCH.program(view, seen).sending(batch.labels, batch.batch)
    scores = [
        search.objective(search.released(program, batch.smashed, batch.labels), tokens)
        for tokens in (
            reader.tokens(batch.smashed, batch.labels),
            search.of_batch(program, batch.smashed, batch.labels),
        )
    ]
    assert bool((scores[1] <= scores[0]).all())
    assert bool((scores[1] < scores[0]).any())


@pytest.mark.parametrize("attack", [INVERTER, SEARCH], ids=name_of)
def test_they_refuse_images_and_activations_that_are_no_rows_of_places(attack):
    for shape, cut, why in (
        ((3, 8, 8), (4, 8, 8), f"{name_of(attack)} attacks sequences of tokens; this run's inputs are images"),
        ((8,), (16,), rf"{name_of(attack)} reads places one by one, and activations of shape \(16,\) are not a row"),
    ):
        with pytest.raises(InputError, match=why):
            attack.check(Target(tier=1, input_shape=shape, cut_shape=cut, classes=2, defense=DefenseChain()))
