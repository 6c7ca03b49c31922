"""Copies of networks are what `copy.deepcopy` makes."""

import copy

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from dtfl_private.models.build import build_model
from dtfl_private.models.copies import copied
from dtfl_private.plugins.installed import installed

LARGE = {"bert-base", "bert-large", "gpt2-xl", "llama-7b"}
TRAINABLE = sorted(set(installed("model")) - LARGE - {"pretrained"})


class Own(nn.Linear):
    """A user's module, with something of its own."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.seen = [torch.zeros(1)]


def built(name: str) -> nn.Module:
    shape = (6,) if name == "transformer" else (1, 12, 12)
    return build_model(name, input_shape=shape, classes=3, norm="batch", seed=0)


def attributes(module: nn.Module) -> list[tuple[object, ...]]:
    """Return what each part of a module has, but for tensors and other parts; of a traced one the names alone."""
    held, found = ("_parameters", "_buffers", "_modules"), []
    for name, part in module.named_modules(remove_duplicate=False):
        plain = not isinstance(part, GraphModule)
        values = {key: repr(value) if plain else None for key, value in vars(part).items() if key not in held}
        found.append((name, type(part).__name__, values))
    return found


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_copy_has_all_that_a_network_has_and_shares_none_of_it(name):
    network = built(name)
    next(network.parameters()).requires_grad_(False)
    made = copied(network)
    assert attributes(made) == attributes(copy.deepcopy(network))
    ours, theirs = made.state_dict(keep_vars=True), network.state_dict(keep_vars=True)
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(ours[key], tensor)
        assert (type(ours[key]), ours[key].requires_grad) == (type(tensor), tensor.requires_grad)
        assert ours[key].data_ptr() != tensor.data_ptr()
    parts = {id(part) for part in network.modules()}
    assert not any(id(part) in parts for part in made.modules())
    made.eval()
    assert all(part.training for part in network.modules())
    made.register_forward_hook(lambda *_: None)
    assert not network._forward_hooks


def test_parts_that_are_shared_stay_shared_and_own_modules_keep_their_own():
    own, tied = Own(), nn.Linear(2, 2)
    tied.weight = own.weight
    network = nn.Sequential(own, tied, tied)
    network[1].register_forward_hook(print)
    made = copied(network)
    assert made[1] is made[2] is not tied
    assert made[0].weight is made[1].weight is not own.weight
    assert made[0].seen[0] is not own.seen[0]
    assert list(made[1]._forward_hooks.values()) == [print]
    made[1]._forward_hooks.clear()
    assert tied._forward_hooks


def test_buffers_are_copied_with_what_they_are_and_shared_ones_stay_shared():
    row, whole = torch.arange(6.0).expand(2, 6), nn.BatchNorm2d(3)
    part, other = nn.Identity(), nn.Identity()
    part.register_buffer("row", row, persistent=False)  # a view that does not fill its memory
    part.register_buffer("mean", whole.running_mean)
    part.register_buffer("nothing", None)
    other.register_buffer("learnt", torch.ones(2, requires_grad=True))
    other.learnt.grad = torch.full((2,), 3.0)
    network = nn.Sequential(whole, part, other)
    made = copied(network)
    assert made[0].running_mean is made[1].mean
    assert (made[1].row.stride(), made[1].nothing, made[2].learnt.requires_grad) == (row.stride(), None, True)
    assert torch.equal(made[2].learnt.grad, other.learnt.grad)
    assert list(made.state_dict()) == list(network.state_dict())
    whole.running_mean.fill_(7.0)
    row.untyped_storage().fill_(0)
    assert torch.equal(made[1].mean, torch.zeros(3))
    assert torch.equal(made[1].row, torch.arange(6.0).expand(2, 6))
