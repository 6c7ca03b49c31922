"""Frozen weights: no parameters, no part of the state, and wherever their module goes."""

import copy

import torch
from torch import nn

from dtfl_private.models.copies import copied
from dtfl_private.models.frozen import freeze, frozen_bytes, frozen_numbers, frozen_weights
from dtfl_private.runtime.sending import packed, unpacked


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Embedding(7, 4), nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), nn.Linear(4, 2))
    made[:2].requires_grad_(requires_grad=False)
    made[1][0].bias.requires_grad_()
    return made


def test_what_wants_no_gradient_leaves_parameters_and_state_and_computes_as_before():
    plain, frozen = network(), network()
    freeze(frozen)
    inputs = torch.tensor([[1, 2, 6]])
    assert torch.equal(frozen(inputs), plain(inputs))
    left = {"1.0.bias", "2.weight", "2.bias"}
    assert dict(frozen.named_parameters()).keys() == frozen.state_dict().keys() == left
    assert frozen_numbers(frozen) == 7 * 4 + 4 * 4 + 2 * 4
    assert frozen_bytes(frozen) == 4 * frozen_numbers(frozen)
    freeze(frozen)
    assert frozen_numbers(frozen) == 7 * 4 + 4 * 4 + 2 * 4
    assert frozen_numbers(plain) == 0
    frozen(inputs).sum().backward()
    assert not any(tensor.requires_grad for tensor in frozen_weights(frozen))
    assert torch.equal(frozen[1][0].bias.grad, torch.autograd.grad(plain(inputs).sum(), plain[1][0].bias)[0])


def test_they_go_with_their_module():
    frozen = network()
    freeze(frozen)
    inputs = torch.tensor([[1, 2, 6]])
    for other in (copied(frozen), copy.deepcopy(frozen), unpacked(packed(frozen, {}))):
        assert torch.equal(other(inputs), frozen(inputs))
        assert frozen_numbers(other) == frozen_numbers(frozen)
        own = {tensor.data_ptr() for tensor in frozen_weights(frozen)}
        assert own.isdisjoint(tensor.data_ptr() for tensor in frozen_weights(other))
    assert {tensor.dtype for tensor in frozen_weights(frozen.double())} == {torch.float64}
