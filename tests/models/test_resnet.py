"""The networks against the table of the DTFL paper (dtfl section 1): 10 classes, 3x32x32, batch norm."""

import pytest
import torch
from torch import nn

from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel, cut_shapes, split
from dtfl_private.models.resnet import Stem

CUTS = [(16, 32, 32), (64, 32, 32), (64, 32, 32), (128, 16, 16), (128, 16, 16), (256, 8, 8), (256, 8, 8)]
MIB_OF_100_IMAGES = [6.25, 25.0, 25.0, 12.5, 12.5, 6.25, 6.25]
CLIENT_PARAMS = {
    "resnet-56": [464, 14_480, 28_112, 87_888, 141_264, 377_552, 588_752],
    "resnet-110": [464, 28_112, 55_376, 168_528, 275_280, 722_768, 1_145_168],
}
CLIENT_MMACS = {
    "resnet-56": ["0.44", "14.1", "27.4", "44.0", "57.3", "73.8", "87.2"],
    "resnet-110": ["0.44", "27.4", "54.2", "84.1", "110.8", "140.7", "167.4"],
}
MPARAMS = {"resnet-8": "0.08", "resnet-20": "0.27", "resnet-56": "0.59", "resnet-110": "1.15"}

papers = pytest.mark.parametrize("name", ["resnet-56", "resnet-110"])


def build(name: str, channels: int = 3, classes: int = 10) -> StagedModel:
    return build_model(name, input_shape=(channels, 32, 32), classes=classes, norm="batch", seed=0)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def forward_macs(module: nn.Module, inputs: torch.Tensor) -> int:
    """Count, layer by layer, outputs times the weights that each of them takes."""
    counts = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel() // len(output))

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(inputs)
    for hook in hooks:
        hook.remove()
    return sum(counts)


@papers
def test_the_cut_tensors_of_the_paper(name):
    model = build(name).eval()
    assert model.stage_names == tuple(f"md{number}" for number in range(1, 9))
    shapes = cut_shapes(model, torch.zeros(1, 3, 32, 32))
    assert shapes == [*CUTS, (10,)]
    mebibytes = [100 * torch.zeros(shape).nbytes / 2**20 for shape in shapes[:-1]]
    assert mebibytes == MIB_OF_100_IMAGES


@papers
def test_the_client_parameters_of_the_paper(name):
    model = build(name)
    assert [parameters(split(model, tier)[0]) for tier in model.tiers] == CLIENT_PARAMS[name]


@papers
def test_the_client_macs_of_the_paper(name):
    model = build(name).eval()
    macs = [forward_macs(split(model, tier)[0], torch.zeros(1, 3, 32, 32)) / 1e6 for tier in model.tiers]
    assert [f"{value:.1f}" if value > 1 else f"{value:.2f}" for value in macs] == CLIENT_MMACS[name]


@pytest.mark.parametrize("name", MPARAMS)
def test_a_resnet_has_the_depth_of_its_name_and_the_published_size(name):
    model = build(name)
    weighted = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    shortcuts = [
        layer for path, layer in model.named_modules() if "shortcut" in path.split(".") and isinstance(layer, nn.Conv2d)
    ]
    assert len(weighted) - len(shortcuts) == int(name.removeprefix("resnet-"))
    assert f"{parameters(model) / 1e6:.2f}" == MPARAMS[name]


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("resnet-8", [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("resnet-20", [(16, 32, 32)] * 3 + [(32, 16, 16)] * 2 + [(64, 8, 8)] * 2),
    ],
)
def test_the_networks_of_basic_blocks_have_4_and_7_tiers(name, cuts):
    model = build(name).eval()
    assert model.tiers == tuple(range(1, len(cuts) + 1))
    assert cut_shapes(model, torch.zeros(1, 3, 32, 32)) == [*cuts, (10,)]


@pytest.mark.parametrize("name", MPARAMS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 7)])
def test_input_channels_and_classes_change_the_first_and_the_last_layer_alone(name, channels, classes):
    model, usual = build(name, channels, classes), build(name)
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, classes)
    shapes, usual_shapes = ({key: value.shape for key, value in net.state_dict().items()} for net in (model, usual))
    differing = {key for key in shapes if shapes[key] != usual_shapes[key]}
    last = f"md{len(model)}"
    assert shapes.keys() == usual_shapes.keys()
    assert differing == ({"md1.conv.weight"} if channels == 1 else {f"{last}.fc.weight", f"{last}.fc.bias"})


@pytest.mark.parametrize("name", MPARAMS)
def test_convolutions_have_no_bias_and_he_initial_weights(name):
    # The deviation of n normal values has a relative error of 1/sqrt(2n): 6 of them, beyond that by 2e-9 a layer.
    for layer in build(name).modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is None
            expected = (2 / (layer.out_channels * layer.weight[0, 0].numel())) ** 0.5
            deviation = layer.weight.detach().square().mean().sqrt().item()
            assert abs(deviation / expected - 1) < 6 / (2 * layer.weight.numel()) ** 0.5


def test_the_stem_is_convolution_then_norm_then_relu():
    stem = Stem(3, "batch").eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(stem(images), stem.norm(stem.conv(images)).clamp(min=0))
    assert stem.conv(images).min() < 0


@pytest.mark.parametrize("name", MPARAMS)
def test_a_block_is_the_rectified_sum_of_its_shortcut_and_its_convolutions(name):
    # With the last norm's scale and shift at zero only the shortcut is left of a block.
    model = build(name).eval()
    blocks = [block for stage in list(model)[1:-1] for block in stage]
    for block in blocks[:1] + blocks[-1:]:
        last = max(part for part, _ in block.named_children() if part.startswith("norm"))
        nn.init.zeros_(getattr(block, last).weight)
        nn.init.zeros_(getattr(block, last).bias)
        inputs = torch.randn(2, block.conv1.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
        assert torch.equal(block(inputs), block.shortcut(inputs).clamp(min=0))


def test_automatic_cuts_of_a_resnet_are_inside_modules_too_and_change_no_weight():
    own, automatic = (
        build_model(name, input_shape=(1, 8, 8), classes=10, norm="batch", seed=0)
        for name in ("resnet-20", "resnet-20-auto")
    )
    counts = [[sum(p.numel() for p in stage.parameters()) for stage in model] for model in (own, automatic)]
    assert (len(counts[1]), sum(counts[1])) == (8, sum(counts[0]))
    # Behind the first block of md3, which the network's own cuts keep together with the second.
    assert counts[1][0] == counts[0][0] + counts[0][1]
    assert counts[1][1] == counts[0][2] // 2
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(own.eval()(images), automatic.eval()(images))
