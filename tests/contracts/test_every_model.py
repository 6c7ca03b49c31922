"""What every registered network must do, with both norms, in every tier."""

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.models.build import build_model
from dtfl_private.models.staged import StagedModel, join, numbered, split
from dtfl_private.plugins import installed

pytestmark = [
    pytest.mark.parametrize("name", sorted(installed("model"))),
    pytest.mark.parametrize("norm", ["batch", "group"]),
]

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def trained_a_little(name: str, norm: str) -> StagedModel:
    """Return a network in eval mode whose running statistics are not the initial ones."""
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    with torch.no_grad():
        model.train()(IMAGES)
    return model.eval()


def changed_in_place(model: nn.Module, images: Tensor) -> list[str]:
    """Return the modules at whose inputs or outputs a tensor was written to after it was made."""
    seen: list[tuple[str, Tensor]] = [("the network's input", images)]

    def look(name: str) -> object:
        return lambda _, inputs, output: seen.extend([(name, *inputs), (name, output)])

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules()]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return [name for name, tensor in seen if tensor._version > 0]


@torch.no_grad()
def test_the_halves_one_after_the_other_are_the_network_bit_for_bit(name, norm):
    model = trained_a_little(name, norm)
    expected = model(IMAGES)
    assert expected.shape == (3, 10)
    assert expected.std(dim=0).min() > 0
    for tier in model.tiers:
        client, server = split(model, tier)
        assert torch.equal(server(client(IMAGES)), expected)


@torch.no_grad()
def test_join_is_the_inverse_of_split_in_every_tier(name, norm):
    model = trained_a_little(name, norm)
    expected, state = model(IMAGES), model.state_dict()
    for tier in model.tiers:
        again = join(*split(model, tier))
        assert list(again.state_dict()) == list(state)
        assert all(torch.equal(tensor, state[key]) for key, tensor in again.state_dict().items())
        assert torch.equal(again.eval()(IMAGES), expected)


def test_training_the_halves_apart_is_what_training_the_network_does_behind_the_cut(name, norm):
    # The server half's gradients on detached activations are those of the whole network.
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    client, server = split(model, model.tiers[-1] // 2)
    model(IMAGES).square().sum().backward()
    whole = [parameter.grad.clone() for parameter in server.parameters()]
    model.zero_grad()
    server(client(IMAGES).detach()).square().sum().backward()
    assert all(torch.equal(ours.grad, theirs) for ours, theirs in zip(server.parameters(), whole, strict=True))
    assert all(parameter.grad is None for parameter in client.parameters())


def test_nothing_is_computed_in_place(name, norm):
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    images = IMAGES.clone()
    assert changed_in_place(model, images) == []
    assert torch.equal(images, IMAGES)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_the_look_for_in_place_work_sees_it(name, norm):
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    planted = numbered([model[0], nn.ReLU(inplace=True), *list(model)[1:]])
    assert changed_in_place(planted, IMAGES.clone()) != []


@torch.no_grad()
def test_evaluating_twice_gives_the_same_and_leaves_the_state_alone(name, norm):
    model = trained_a_little(name, norm)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert torch.equal(model(IMAGES), model(IMAGES))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("channels", [1, 3])
def test_one_and_three_channels_are_taken(name, norm, channels):
    model = build_model(name, input_shape=(channels, 16, 16), classes=4, norm=norm, seed=0)
    assert model(torch.zeros(2, channels, 16, 16)).shape == (2, 4)


def test_the_norm_asked_for_is_the_only_one(name, norm):
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    wanted, other = (nn.BatchNorm2d, nn.GroupNorm) if norm == "batch" else (nn.GroupNorm, nn.BatchNorm2d)
    norms = [module for module in model.modules() if isinstance(module, wanted)]
    assert norms
    assert not any(isinstance(module, other) for module in model.modules())
    assert all(module.num_groups == 8 for module in norms if isinstance(module, nn.GroupNorm))


def test_the_seed_decides_the_weights(name, norm):
    first, same, other = (
        build_model(name, input_shape=(3, 16, 16), classes=10, norm=norm, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
