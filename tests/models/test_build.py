import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import as_staged, build_model
from dtfl_private.models.cutting.staged import StagedModel, numbered


def weights(seed: int, name: str = "resnet-8") -> torch.Tensor:
    model = build_model(name, input_shape=(1, 8, 8), classes=10, norm="batch", seed=seed)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = weights(seed=3)
    torch.manual_seed(2)
    torch.rand(11)
    assert torch.equal(weights(seed=3), first)
    assert not torch.equal(weights(seed=4), first)


def test_building_a_network_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    weights(seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_may_be_spelled_freely():
    assert torch.equal(weights(0, "ResNet_8"), weights(0))


def test_an_unknown_network_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown model 'resnet-9': did you mean 'resnet-8'"):
        weights(0, "resnet-9")


@pytest.mark.parametrize("shape", [(1, 7, 9), (1, 9, 7), (3, 1, 1)])
def test_images_that_are_too_small_are_refused(shape):
    with pytest.raises(InputError, match=f"images of {shape[1]}x{shape[2]} are too small: at least 8x8"):
        build_model("resnet-8", input_shape=shape, classes=10, norm="batch", seed=0)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", ["resnet-8", "resnet-20", "resnet-56"])
def test_even_a_single_image_of_the_smallest_size_can_be_trained_on(name, norm):
    model = build_model(name, input_shape=(1, 8, 8), classes=10, norm=norm, seed=0).train()
    model(torch.ones(1, 1, 8, 8)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("built", [nn.Linear(2, 2), nn.Sequential(nn.Identity(), nn.Identity()), numbered([nn.ReLU()])])
def test_a_plugin_that_cannot_be_cut_is_refused(offer, built):
    offer("model", "own", lambda *, input_shape, classes, norm: built)  # noqa: ARG005 - called by these names
    with pytest.raises(InputError, match="model 'own' is not a StagedModel of at least two stages"):
        build_model("own", input_shape=(1, 8, 8), classes=10, norm="batch", seed=0)


def test_a_plugin_gets_the_shape_the_classes_the_norm_and_its_own_settings(offer):
    def own(*, input_shape: tuple[int, ...], classes: int, norm: str, width: int = 4) -> StagedModel:
        asked.append((input_shape, classes, norm, width))
        return numbered([nn.Conv2d(input_shape[0], width, 3), nn.ReLU()])

    asked = []
    offer("model", "own", own)
    model = build_model("own:width=6", input_shape=(3, 8, 9), classes=5, norm="group", seed=0)
    assert asked == [((3, 8, 9), 5, "group", 6)]
    assert model[0].weight.shape == (6, 3, 3, 3)


def test_a_registered_network_that_takes_no_norm_is_built_whatever_norm_is_asked_for(offer, tiny_network):
    asked = []

    def plain(*, input_shape, classes):
        asked.append((input_shape, classes))
        return tiny_network()

    offer("model", "plain", plain)
    for norm in ("batch", "group"):
        assert build_model("plain", input_shape=(1, 8, 8), classes=3, norm=norm, seed=0).tiers == (1, 2, 3)
    assert asked == [((1, 8, 8), 3)] * 2
    with pytest.raises(InputError, match="model 'plain' takes no settings, but 'plain:norm=group' gives 'norm'"):
        build_model("plain:norm=group", input_shape=(1, 8, 8), classes=3, norm="group", seed=0)


def test_any_module_can_be_passed_as_an_object():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert len(as_staged(module, (1, 8, 8)).tiers) == 1
    model = as_staged(module, (1, 8, 8))
    assert as_staged(model, (1, 8, 8)) is model
