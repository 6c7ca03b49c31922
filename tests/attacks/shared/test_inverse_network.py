"""Inverse networks for cuts of any shape, and the terms of their losses."""

import pytest
import torch

from dtfl_private.attacks.shared.inverse_network import SIZES, InverseNetwork, Shapes, as_map, map_shape
from dtfl_private.attacks.shared.similarity import structural_similarity, total_variation
from dtfl_private.leakage.image_metrics import ssim


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", [(4, 28, 28), (4, 26, 24), (8, 14, 14), (3, 7, 7), (5, 1, 1), (49, 6), (50, 6)])
def test_every_cut_gives_images_and_every_weight_is_used(cut, size):
    network = InverseNetwork(Shapes(cut=map_shape(cut, "it"), image=(3, 28, 28), classes=4), size)
    smashed = torch.randn(2, *cut, generator=torch.Generator().manual_seed(0))
    network.standardise_by(smashed)
    for block in [*network.blocks, network.polish]:
        torch.nn.init.normal_(block.conv2.weight)  # zero at the start, so that nothing comes through
    images = network(smashed, torch.tensor([1, 3]))
    assert images.shape == (2, 3, 28, 28)
    images.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_patches_of_tokens_are_laid_out_row_by_row_without_the_class_token():
    tokens = torch.arange(10.0).view(1, 10, 1)
    expected = torch.arange(9.0).view(1, 1, 3, 3)
    assert torch.equal(as_map(tokens[:, :9]), expected)
    assert torch.equal(as_map(tokens), expected + 1)
    maps = torch.ones(1, 2, 3, 4)
    assert as_map(maps) is maps


def test_the_similarity_of_the_loss_is_that_of_the_scores():
    generator = torch.Generator().manual_seed(0)
    for side in (8, 16):
        guess, truth = torch.rand(2, 3, 2, side, side, generator=generator, dtype=torch.float64)
        assert structural_similarity(guess, truth).tolist() == pytest.approx(ssim(guess, truth).tolist(), abs=1e-9)


def test_total_variation_is_the_mean_step_down_and_across():
    image = torch.tensor([[0.0, 1.0, 1.0], [0.5, 0.5, 0.0]]).view(1, 1, 2, 3)
    down, across = (0.5 + 0.5 + 1.0) / 3, (1.0 + 0.0 + 0.0 + 0.5) / 4
    assert total_variation(image).tolist() == pytest.approx([down + across])
