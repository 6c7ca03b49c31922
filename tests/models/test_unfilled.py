import pytest
import torch
from torch import nn
from torch.nn import init
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.models.build import build_description, build_model
from dtfl_private.models.unfilled import Unfilled


class Called(TorchDispatchMode):
    """Notes the operators that fill tensors with random numbers."""

    def __init__(self):
        super().__init__()
        self.draws = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.draws.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["resnet-8", "mobilenet-v2", "vit:depth=1,width=16", "gpt2-xl"])
def test_a_described_network_is_the_built_one_without_numbers_none_of_which_is_drawn(name, monkeypatch):
    monkeypatch.setattr("dtfl_private.models.build.LARGE", 0)
    asked = {"input_shape": (8,) if name == "gpt2-xl" else (1, 16, 16), "classes": 3, "norm": "batch", "seed": 0}
    with Called() as called:
        described = build_description(name, **asked)
    assert called.draws == []
    assert {tensor.device.type for tensor in described.state_dict().values()} == {"meta"}
    if name == "gpt2-xl":
        return  # it is too large to be built
    with Called() as called:
        built = build_model(name, **asked)
    assert called.draws
    shapes = [(key, tensor.shape, tensor.dtype) for key, tensor in built.state_dict().items()]
    assert shapes == [(key, tensor.shape, tensor.dtype) for key, tensor in described.state_dict().items()]


@pytest.mark.parametrize(
    "fill",
    [
        lambda tensor: init.constant_(tensor, 2.0),
        lambda tensor: init.kaiming_uniform_(tensor, generator=torch.Generator().manual_seed(1)),
        lambda tensor: init.normal_(tensor, generator=torch.Generator().manual_seed(1)),
        lambda tensor: init.trunc_normal_(tensor=tensor, generator=torch.Generator().manual_seed(1)),
        lambda tensor: init.uniform_(tensor=tensor, generator=torch.Generator().manual_seed(1)),
        lambda tensor: tensor.normal_(generator=torch.Generator().manual_seed(1)),
        lambda tensor: tensor.uniform_(generator=torch.Generator().manual_seed(1)),
    ],
)
def test_tensors_with_numbers_are_filled_as_ever(fill):
    outside, within = torch.zeros(3, 4), torch.zeros(3, 4)
    returned = fill(outside)
    with Unfilled():
        assert fill(within) is within
    assert returned is outside
    assert torch.equal(outside, within)
    assert outside.any()
    weight = nn.Parameter(torch.empty(3, 4, device="meta"))
    with Unfilled():
        assert fill(weight) is weight
