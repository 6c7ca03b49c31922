"""Shuffled tokens in order again: rows are told by their tokens' and places' means."""

import pytest
import torch

from dtfl_private.attacks.shared.token_order import with_rows_in_order
from dtfl_private.attacks.token_inverter import TokenInverter
from dtfl_private.plugins.registry import create
from tests.attacks.text_views import PADDING, accuracy, client_half, text_view

SHUFFLE = create("defense", "token-shuffle")
INVERTER = TokenInverter(size="small", steps=60)


def placed_half():
    half = client_half(embedding=0.5)
    torch.nn.init.normal_(half[0][0].places.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return half


@pytest.fixture(scope="module")
def half():
    return placed_half()


def test_rows_go_back_to_their_places_and_padding_stays(half):
    shuffled, truth = text_view([half], SHUFFLE)
    plain, _ = text_view([half])
    ordered = with_rows_in_order(shuffled, adaptive=True)
    sent, wanted = (one.seen[0].batches[0].smashed for one in (shuffled, plain))
    found, real = ordered.seen[0].batches[0].smashed, truth != PADDING
    assert not torch.equal(sent, wanted)
    assert torch.equal(found.sort(dim=1).values, sent.sort(dim=1).values)
    assert torch.equal((found != 0).any(dim=2), real)
    right = (found - wanted).abs().amax(dim=2) < 1e-5
    assert float(right[real].double().mean()) > 0.95


def test_what_is_released_is_put_in_order_as_what_was_received(half):
    view, _ = text_view([half], SHUFFLE)
    ordered = with_rows_in_order(view, adaptive=True)
    own, labels = view.auxiliary.validation_images[:16], view.auxiliary.validation_labels[:16]
    released, plain = (
        one.program(view.seen[0], adaptive=adaptive).release(own, labels)
        for one, adaptive in ((ordered, True), (view, False))
    )
    assert float(((released - plain).abs().amax(dim=2) < 1e-5)[own != PADDING].double().mean()) > 0.95


def test_the_inverter_reads_shuffled_texts_in_order(half):
    view, truth = text_view([half], SHUFFLE)
    assert accuracy(INVERTER.tokens(view), truth) > 0.9


def test_elsewhere_the_view_is_the_same(half):
    plain, _ = text_view([half])
    shuffled, _ = text_view([half], SHUFFLE)
    assert with_rows_in_order(plain, adaptive=True) is plain
    assert with_rows_in_order(shuffled, adaptive=False) is shuffled
