"""Padding: places that only fill sequences up change nothing, whatever their number, and stay zero."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.attention import Attention
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.heads import PooledClassifier
from dtfl_private.models.padding import kept, real_places, require_padding_kept
from dtfl_private.models.pooling import global_average
from dtfl_private.models.transformer import Block
from dtfl_private.protocol.vocabulary import Vocabulary

VOCABULARY = Vocabulary(size=300, padding=0)
LENGTHS = (6, 3, 1, 0)


def network(length: int, vocabulary: Vocabulary = VOCABULARY) -> StagedModel:
    """Return a network for sequences of a length; of a longer one, with the same weights."""
    text = "transformer:depth=2,width=8,heads=2,dropout=0,cuts=all"
    about = {"classes": 3, "norm": "batch", "seed": 0, "tokens": vocabulary}
    shorter = build_model(text, input_shape=(6,), **about).state_dict()
    model = build_model(text, input_shape=(length,), **about)
    state = model.state_dict()
    state.update({name: tensor for name, tensor in shorter.items() if name != "md1.places.weight"})
    state["md1.places.weight"][:6] = shorter["md1.places.weight"]
    model.load_state_dict(state)
    # A norm's bias at first is 0, as if padding were masked behind it.
    nn.init.ones_(model.md4[0].bias)
    return model


def sequences(length: int, padding: int = 0) -> torch.Tensor:
    tokens = torch.full((len(LENGTHS), length), padding)
    for row, real in enumerate(LENGTHS):
        tokens[row, :real] = torch.arange(1, real + 1) + 40 * row
    return tokens


def test_texts_that_are_padded_further_give_the_same_logits_local_losses_and_gradients():
    head, labels = PooledClassifier(8, 3), torch.tensor([0, 1, 2, 0])
    found = []
    for length in (6, 17):
        model = network(length)
        activations = model.md2(model.md1(sequences(length)))
        logits = model.md4(model.md3(activations))
        local = F.cross_entropy(head(activations), labels)
        loss = local + F.cross_entropy(logits, labels)
        named = [(name, one) for name, one in model.named_parameters() if name != "md1.places.weight"]
        gradients = torch.autograd.grad(loss, [one for _, one in named])
        found.append([logits, local, *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_padding_is_zero_behind_every_stage_and_its_vectors_get_no_gradient():
    model, values = network(17), sequences(17)
    real = values != 0
    for stage in model:
        values = stage(values)
        assert values.isfinite().all()
        if values.ndim == 3:
            assert torch.equal(real_places(values), real)
    values.sum().backward()
    assert not model.md1.tokens.weight.grad[0].any()
    assert not model.md1.places.weight.grad[6:].any()


def test_a_padding_token_beyond_the_vocabulary_is_never_looked_up():
    beyond = network(6, Vocabulary(size=300, padding=300))
    assert torch.equal(beyond(sequences(6, padding=300)), network(6)(sequences(6)))


@pytest.mark.parametrize("causal", [True, False])
def test_no_place_attends_to_padding_wherever_it_is(causal):
    torch.manual_seed(0)
    attention, tokens = Attention(8, 2, causal=causal), torch.randn(2, 5, 8)
    real = torch.tensor([[False, True, False, True, True]] * 2)
    changed = torch.where(real[..., None], tokens, torch.randn(2, 5, 8))
    ours, theirs = (attention(one, real=real)[0] for one in (tokens, changed))
    assert torch.equal(ours[real], theirs[real])
    assert not torch.equal(attention(tokens)[0][real], attention(changed)[0][real])
    assert attention(tokens, real=torch.zeros_like(real))[0].isfinite().all()


def test_where_nothing_is_padding_everything_is_as_without_masks_to_the_bit():
    torch.manual_seed(0)
    block, tokens = Block(8, 2, 0.0, causal=False), torch.randn(4, 5, 8)
    assert torch.equal(global_average(tokens), tokens.mean(dim=1))
    hidden = tokens + block.attention(block.norm1(tokens))[0]
    assert torch.equal(block(tokens), hidden + block.mlp(block.norm2(hidden)))
    assert kept(tokens, None) is tokens


def test_the_average_is_over_real_places_and_of_none_it_is_zero():
    tokens = torch.tensor([[[2.0, 4.0], [0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0]] * 3])
    assert global_average(tokens).tolist() == [[3.0, 2.0], [0.0, 0.0]]


class Plain(nn.Module):
    """Embeds tokens and leaves padding as it is."""

    def __init__(self, size: int, *, masks: bool) -> None:
        super().__init__()
        self.vectors, self.masks = nn.Embedding(size, 4), masks

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return kept(self.vectors(tokens), tokens != 0 if self.masks else None)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([Plain(300, masks=False), PooledClassifier(4, 3)], "stage 'md1' of the network does not return zeros"),
        ([Plain(300, masks=True), nn.Linear(4, 4), PooledClassifier(4, 3)], "stage 'md2' of the network does not"),
        ([Plain(299, masks=True), PooledClassifier(4, 3)], "does not take 300 kinds of tokens and padding: index out"),
        ([Plain(300, masks=True), nn.Conv1d(6, 2, 1), PooledClassifier(4, 3)], "stage 'md2' of the network does not"),
    ],
)
def test_a_network_of_one_s_own_that_does_not_keep_padding_is_refused(stages, said):
    with pytest.raises(InputError, match=said):
        require_padding_kept(numbered(stages), VOCABULARY, 6)


def test_a_network_that_keeps_padding_is_taken_as_it_was():
    good = numbered([Plain(300, masks=True), PooledClassifier(4, 3)]).train()
    require_padding_kept(good, VOCABULARY, 6)
    require_padding_kept(good, VOCABULARY, 1)
    assert good.training
    require_padding_kept(numbered([Plain(9, masks=False), PooledClassifier(4, 3)]), Vocabulary(size=300), 6)

    class Dividing(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens.sum(dim=1) / real_places(tokens).sum(dim=1, keepdim=True)

    with pytest.raises(InputError, match="stage 'md2' of the network does not return finite values"):
        require_padding_kept(numbered([Plain(300, masks=True), Dividing()]), VOCABULARY, 6)
