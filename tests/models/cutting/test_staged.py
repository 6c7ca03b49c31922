import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel, cut_shapes, join, numbered, snapshot, split


def small_model() -> StagedModel:
    torch.manual_seed(0)
    return numbered(
        [
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)),
            nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)),
        ]
    )


IMAGES = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_network_of_l_modules_has_l_minus_1_tiers():
    assert small_model().tiers == (1, 2)
    assert numbered([nn.Identity()]).tiers == ()


def test_stages_are_numbered_as_in_the_paper():
    assert small_model().stage_names == ("md1", "md2", "md3")


def test_the_client_of_tier_m_holds_the_first_m_stages_under_their_names():
    client, server = split(small_model(), 2)
    assert client.stage_names == ("md1", "md2")
    assert server.stage_names == ("md3",)


@pytest.mark.parametrize("tier", [1, 2])
def test_halves_share_the_parameters_of_the_model(tier):
    model = small_model()
    halves = split(model, tier)
    parts = {name: tensor for half in halves for name, tensor in half.state_dict(keep_vars=True).items()}
    assert list(parts) == list(model.state_dict())
    assert all(parts[name] is tensor for name, tensor in model.state_dict(keep_vars=True).items())
    again = join(*halves)
    assert all(again.state_dict(keep_vars=True)[name] is tensor for name, tensor in parts.items())


def test_a_half_can_be_cut_again():
    model = small_model()
    client, rest = split(model, 1)
    middle, server = split(rest, 1)
    assert middle.stage_names == ("md2",)
    assert join(join(client, middle), server).stage_names == model.stage_names


@pytest.mark.parametrize("tier", [-1, 0, 3, 8])
def test_a_tier_that_the_network_does_not_have_is_refused(tier):
    with pytest.raises(InputError, match=f"tier {tier} does not exist: a network of 3 modules has tiers 1..2"):
        split(small_model(), tier)


def test_halves_that_overlap_are_not_joined():
    model = small_model()
    with pytest.raises(InputError, match="halves overlap"):
        join(split(model, 2)[0], split(model, 1)[1])


def test_a_model_without_stages_is_refused():
    with pytest.raises(InputError, match="at least one stage"):
        StagedModel([])


def test_cut_shapes_are_the_shapes_of_one_example_behind_each_stage():
    assert cut_shapes(small_model(), IMAGES) == [(3, 4, 4), (3, 4, 4), (5,)]


def test_a_snapshot_holds_parameters_and_buffers_and_keeps_its_values():
    model = small_model()
    taken = snapshot(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert list(taken) == list(before)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert all(torch.equal(taken[name], tensor) for name, tensor in before.items())
    assert not any(tensor.requires_grad for tensor in taken.values())
