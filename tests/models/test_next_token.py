"""Labels, losses and heads of next-token training, each against a plain loop or a closed form."""

import math

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.heads import make_heads
from dtfl_private.models.next_token import IGNORED, next_token_loss, next_token_sums, next_tokens
from dtfl_private.models.padding import require_padding_kept
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.network_operators import network_operators

PADDING = 9
TEXTS = torch.tensor([[1, 2, 3, 4], [5, 6, PADDING, PADDING], [7, PADDING, PADDING, PADDING]])
LABELS = [[2, 3, 4, IGNORED], [6, IGNORED, IGNORED, IGNORED], [IGNORED] * 4]
LOGITS = torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))


def test_a_label_is_the_token_behind_and_padding_has_none():
    assert next_tokens(TEXTS, PADDING).tolist() == LABELS
    assert next_tokens(TEXTS, None)[1].tolist() == [6, PADDING, PADDING, IGNORED]


def test_the_loss_is_the_mean_over_real_places():
    labels = torch.tensor(LABELS)
    losses, right = [], 0
    for text in range(3):
        for place in range(4):
            label = LABELS[text][place]
            if label != IGNORED:
                row = LOGITS[text, place].tolist()
                losses.append(math.log(sum(math.exp(value) for value in row)) - row[label])
                right += max(range(10), key=row.__getitem__) == label
    assert float(next_token_loss(LOGITS, labels)) == pytest.approx(sum(losses) / 4, abs=1e-6)
    correct, total, places = next_token_sums(LOGITS, labels)
    assert (correct, places) == (right, 4)
    assert total == pytest.approx(sum(losses), abs=1e-5)
    assert float(next_token_loss(LOGITS, torch.full((3, 4), IGNORED))) == 0  # and not NaN


@pytest.mark.parametrize(("size", "weights"), [("small", 2 * 5 + 2 * 8), ("paper", 8 * 5), ("large", 8 * 5 + 8 * 9)])
def test_a_head_has_a_norm_and_logits_at_each_place(size, weights):
    head = make_heads({1: (4, 8)}, 3, size, vocabulary=5)[1]
    assert head(torch.randn(2, 4, 8)).shape == (2, 4, 5)
    assert sum(parameter.numel() for parameter in head.parameters()) == 2 * 8 + weights
    with pytest.raises(InputError, match=r"has shape \(3, 8, 8\); next-token training needs \(tokens, width\)"):
        make_heads({1: (3, 8, 8)}, 3, size, vocabulary=5)


def test_a_transformer_s_logits_depend_on_earlier_tokens_only_and_its_costs_are_counted():
    vocabulary = Vocabulary(size=9, padding=PADDING)
    text = "transformer:task=next-token,depth=2,width=8,heads=2"
    model = build_model(text, input_shape=(4,), classes=3, norm="batch", seed=0, tokens=vocabulary).eval()
    assert model.vocabulary == 9
    require_padding_kept(model, vocabulary, 4)
    with torch.no_grad():
        one, other = model(torch.tensor([[1, 2, 3, 4], [1, 2, 8, 4]]))
    assert torch.equal(one[:2], other[:2])
    assert not torch.equal(one[2:], other[2:])
    table, followed = analyse(model, (4,), 3, Numerics(), "small"), network_operators(model, (4,), 3, Numerics())
    assert [row.label_bytes for row in table.rows] == [4 * 8] * 3
    assert [row.head_params for row in table.rows] == [2 * 8 + 2 * 8 + 9 * 2] * 3
    assert [row.head_forward_macs for row in table.rows] == [4 * (2 * 8 + 9 * 2)] * 3
    assert followed.loss.image_bytes_O.sum() > 0
