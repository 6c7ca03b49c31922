"""A small Vision Transformer: torchvision's class, with attention that can be differentiated twice."""

import math

from torch import nn
from torchvision.models import VisionTransformer

from dtfl_private.errors import InputError
from dtfl_private.models.attention import Attention, require_divisor
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm
from dtfl_private.models.setting_types import Rate, Width

# Width of the hidden layer of a block's MLP, in widths of a token.
MLP_FACTOR = 2


@network(source="Dosovitskiy et al. 2020, arXiv 2010.11929")
def vit(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; a transformer has layer norms
    cuts: Cuts = "auto",
    patch: Width = 4,
    depth: Width = 8,
    width: Width = 96,
    heads: Width = 4,
    dropout: Rate = 0.1,
) -> StagedModel:
    """Small Vision Transformer for square images: 8 blocks of width 96 over 4x4 patches and a class token."""
    channels, side, other = input_shape
    if side != other or side % patch:
        raise InputError(
            f"vit takes square images whose side the patch divides, not {side}x{other} with patch={patch}: "
            "set vit:patch=P to a divisor of the side"
        )
    require_divisor(heads, width)
    model = VisionTransformer(side, patch, depth, heads, width, MLP_FACTOR * width, dropout, num_classes=classes)
    model.conv_proj = nn.Conv2d(channels, width, patch, patch)
    nn.init.trunc_normal_(model.conv_proj.weight, std=math.sqrt(1 / (channels * patch**2)))
    nn.init.zeros_(model.conv_proj.bias)
    # torchvision begins with a head of zeros, from which nothing is learnt below it in the first step.
    nn.init.trunc_normal_(model.heads.head.weight, std=math.sqrt(1 / width))
    for block in model.encoder.layers:
        block.self_attention = Attention(width, heads)
    return cut_automatically(model, input_shape, cuts)
