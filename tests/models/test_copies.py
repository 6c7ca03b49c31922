"""Copies of a user's modules; those of every built-in network are in `tests/contracts/test_every_model.py`."""

import torch
from torch import nn

from dtfl_private.models.copies import copied


class Own(nn.Linear):
    """A user's module, with something of its own."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.seen = [torch.zeros(1)]


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
