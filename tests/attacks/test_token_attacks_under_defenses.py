"""Attacks on tokens run under every defense that can act on padded texts: a whole search, of few steps."""

import pytest
import torch

from dtfl_private.attacks.shared import token_training
from dtfl_private.attacks.token_search import TokenSearch
from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense
from dtfl_private.protection.cost import Cut, RunFacts
from tests.attacks.text_views import BATCH, LENGTH, PADDING, TOKENS, WIDTH, client_half, text_view

SEARCH = TokenSearch(size="small", reader_steps=4, steps=8)
RUN = RunFacts(rounds=1, batch_size=BATCH, local_epochs=1, classes=2, records_K=(BATCH,))
CUT = Cut(
    tier=1,
    input_shape=(LENGTH,),
    cut_shape=(LENGTH, WIDTH),
    smashed_bytes=4 * LENGTH * WIDTH,
    forward_macs=9,
    batch_size=BATCH,
)

# Of images alone, or refused for texts that are filled up.
NOT_ON_TEXTS = {"adversarial-decoder", "batch-patch-shuffle", "fisher-noise", "learned-noise", "micro-aggregation"}
NOT_ON_TEXTS |= {"patch-shuffle", "pixel-dp", "quantize", "top-k"}


def applicable(name: str) -> Defense | None:
    """Return a defense as a run has it; None if it is refused for padded texts."""
    defense: Defense = create("defense", "dp-activations:clip=2" if name == "dp-activations" else name).calibrated(RUN)
    try:
        defense.check(CUT)
    except InputError:
        return None
    return None if defense.facts.refuses_padding else defense


@pytest.mark.parametrize("name", sorted(installed("defense")))
def test_the_search_and_its_network_run_under_it(name, monkeypatch):
    defense = applicable(name)
    assert (defense is None) == (name in NOT_ON_TEXTS)
    if defense is None:
        return
    monkeypatch.setattr(token_training, "FEWEST_RELEASED", 2 * BATCH)
    view, truth = text_view([client_half(embedding=1.0)], defense, auxiliary=2 * BATCH)
    found = SEARCH.tokens(view)
    assert found.dtype == torch.int64
    assert torch.equal(found == PADDING, truth == PADDING)
    assert int(found.max()) <= TOKENS
