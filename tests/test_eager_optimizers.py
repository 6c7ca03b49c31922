import inspect
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.eager_optimizers import EagerAdam, EagerSGD

PAIRS = [
    (EagerAdam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    (EagerAdam, torch.optim.Adam, {"lr": 0.01, "betas": (0.5, 0.9), "amsgrad": True}),
    (EagerSGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "fused": True}),
]


@pytest.mark.parametrize(("eager", "torchs", "settings"), PAIRS)
def test_steps_are_torchs_to_the_bit(eager, torchs, settings):
    assert torch.equal(trained(eager, settings), trained(torchs, settings))


@pytest.mark.parametrize(("eager", "torchs", "settings"), PAIRS)
def test_no_compiler_is_loaded(eager, torchs, settings, monkeypatch):
    for name in ("zero_grad", "add_param_group"):  # what torch keeps of a compiler that was loaded before
        monkeypatch.delattr(inspect.unwrap(getattr(torchs, name)), "__dynamo_disable", raising=False)
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    trained(eager, settings)
    with pytest.raises(ImportError, match="_dynamo"):
        trained(torchs, settings)


def test_a_step_is_no_part_of_a_gradient():
    network = nn.Linear(2, 1)
    optimizer = EagerAdam(network.parameters(), lr=0.1)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert all(weights.is_leaf for weights in network.parameters())


def trained(kind: type[torch.optim.Optimizer], settings: dict[str, object]) -> torch.Tensor:
    """Return the weights of a small network after five steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        optimizer = kind(network.parameters(), **settings)
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(network(torch.randn(4, 6)), torch.tensor([0, 1, 2, 0])).backward()
            optimizer.step()
    return torch.cat([weights.detach().flatten() for weights in network.parameters()])
