"""Attention in plain products against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.attention import Attention

TOKENS = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def plain(**settings: object) -> Attention:
    torch.manual_seed(0)
    return Attention(12, 3, **settings).double()


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_torch_s_fused_attention(causal):
    attention = plain(causal=causal)
    query, key, value = (part.view(2, 5, 3, 4).transpose(1, 2) for part in attention.qkv(TOKENS).chunk(3, dim=-1))
    fused = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    expected = attention.out(fused.transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(attention(TOKENS)[0], expected)


def test_it_stands_in_for_torch_s_module():
    ours, theirs = plain(), nn.MultiheadAttention(12, 3, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    expected, _ = theirs(TOKENS, TOKENS, TOKENS, need_weights=False)
    attended, weights = ours(TOKENS, TOKENS, TOKENS, need_weights=False)
    torch.testing.assert_close(attended, expected)
    assert weights is None


def test_a_causal_token_does_not_see_those_after_it():
    attention = plain(causal=True)
    other = TOKENS.clone()
    other[:, 3:] += 1
    assert torch.equal(attention(TOKENS)[0][:, :3], attention(other)[0][:, :3])
    assert not torch.equal(attention(TOKENS)[0][:, 3:], attention(other)[0][:, 3:])


def test_it_has_a_second_derivative():
    tokens = TOKENS[:1, :2].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda inputs: plain()(inputs)[0], tokens)


def test_it_has_per_sample_gradients():
    attention = plain()
    parameters = dict(attention.named_parameters())

    def loss(weights: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(attention, weights, (tokens.unsqueeze(0),))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, TOKENS)
    for position, tokens in enumerate(TOKENS):
        alone = torch.autograd.grad(loss(parameters, tokens), list(parameters.values()))
        for name, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(each[name][position], gradient)


def test_dropped_weights_are_dropped_in_training_only():
    attention = plain(dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(attention(TOKENS)[0], attention(TOKENS)[0])
    attention.eval()
    assert torch.equal(attention(TOKENS)[0], attention(TOKENS)[0])


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="heads=5 does not divide width=12: choose a divisor"):
        Attention(12, 5)
