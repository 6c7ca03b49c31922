import math

import pytest
import torch
from text_views import BATCH, LENGTH, PADDING, TOKENS, client_half, text_view

from dtfl_private.attacking.base import Target, name_of
from dtfl_private.attacks.shared import token_table
from dtfl_private.attacks.token_lookup import TokenLookup
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain

MD1 = client_half(0)
DROPPING = client_half(0, seed=1, dropout=0.4)


def embedded(half) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the vectors of tokens and of places of a client half."""
    embedding = half[0][0]
    return embedding.tokens.weight.detach(), embedding.places.weight.detach()


@pytest.mark.parametrize("halves", [[MD1], [DROPPING, MD1]], ids=["plain", "dropout, and two downloads"])
def test_it_is_exact_behind_an_embedding_without_defenses(halves):
    view, truth = text_view(halves)
    guess = TokenLookup().tokens(view)
    assert guess.dtype == torch.int64
    assert guess.tolist() == truth.tolist()  # padding, which shows, too


def test_behind_known_noise_it_takes_the_likeliest_token_given_how_frequent_each_is():
    view, truth = text_view([MD1], create("defense", "gaussian-noise:sd=0.03"))
    (batch,) = view.seen[0].batches
    tokens, places = embedded(MD1)
    counts = torch.bincount(view.auxiliary.images.flatten(), minlength=TOKENS + 1)[:TOKENS] + 1
    expected = torch.full_like(truth, PADDING)
    for row in range(BATCH):
        for place in range(LENGTH):
            if truth[row, place] == PADDING:
                continue
            apart = [(batch.smashed[row, place] - tokens[t] - places[place]).square().sum() for t in range(TOKENS)]
            scores = [-one / (2 * 0.03**2) + math.log(counts[t] / counts.sum()) for t, one in enumerate(apart)]
            expected[row, place] = int(torch.tensor(scores).argmax())
    found = TokenLookup().tokens(view)
    assert found.tolist() == expected.tolist()
    assert found.tolist() != truth.tolist()  # noise that leaves a choice
    assert found.tolist() != TokenLookup(prior=0.0).tokens(view).tolist()


def test_behind_laplace_noise_it_goes_by_absolute_distances():
    view, truth = text_view([MD1], create("defense", "laplace-noise:sd=0.03"))
    (batch,) = view.seen[0].batches
    tokens, places = embedded(MD1)
    apart = (batch.smashed[:, :, None] - tokens - places[:, None]).abs().sum(dim=-1)
    expected = apart.argmin(dim=-1).where(truth != PADDING, PADDING)
    assert TokenLookup(prior=0.0).tokens(view).tolist() == expected.tolist()


def test_the_table_is_never_there_as_a_whole(monkeypatch):
    view, _ = text_view([MD1], create("defense", "gaussian-noise:sd=0.03"))
    whole = TokenLookup().tokens(view)
    monkeypatch.setattr(token_table, "PIECE_BYTES", 4 * LENGTH * 16 * 3)  # three tokens
    sizes, heard = [], []
    made = token_table.TokenTable._made

    def noted(table, tokens):
        sizes.append(len(tokens))
        return made(table, tokens)

    monkeypatch.setattr(token_table.TokenTable, "_made", noted)
    view.progress = lambda done, total: heard.append(done / total)
    assert TokenLookup().tokens(view).tolist() == whole.tolist()
    assert max(sizes) <= 4
    assert heard == sorted(heard)
    assert heard[-1] == 1


def test_without_texts_of_its_own_it_goes_by_the_noise_alone():
    view, _ = text_view([MD1], create("defense", "gaussian-noise:sd=0.03"))
    alone = TokenLookup(prior=0.0).tokens(view)
    view._knows = "architecture"
    assert TokenLookup().tokens(view).tolist() == alone.tolist()


def test_shuffled_tokens_tell_their_places_too():
    view, truth = text_view([MD1], create("defense", "token-shuffle"))
    assert TokenLookup().tokens(view).tolist() == truth.tolist()
    blind = TokenLookup(adaptive=False).tokens(view)
    real = truth != PADDING
    assert (blind == truth)[real].double().mean() < 0.7


def test_behind_attention_it_still_looks_up_and_padding_shows():
    view, truth = text_view([client_half(1, dropout=0.1)])
    found = TokenLookup().tokens(view)
    assert ((truth == PADDING) == (found == PADDING)).all()


@pytest.mark.parametrize(
    ("input_shape", "cut_shape", "says"),
    [
        ((3, 8, 8), (4, 8, 8), "token-lookup attacks sequences of tokens; this run's inputs are images"),
        ((8,), (16,), r"token-lookup looks places up one by one, and activations of shape \(16,\)"),
        ((8,), (4, 16), r"are not a row for each of 8 places"),
    ],
)
def test_what_it_cannot_look_up_is_refused(input_shape, cut_shape, says):
    target = Target(tier=1, input_shape=input_shape, cut_shape=cut_shape, classes=2, defense=DefenseChain())
    with pytest.raises(InputError, match=says):
        TokenLookup().check(target)
    assert name_of(TokenLookup()) == "token-lookup"
