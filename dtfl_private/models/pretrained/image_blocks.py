"""A Vision Transformer's embedding as layers that are called one by one, and the library's blocks over its tokens."""

import torch
from torch import Tensor, nn

from dtfl_private.models.pretrained.vit_config import VitConfig


class ClassToken(nn.Module):
    """A learnt token before all others; a module of its own, as per-sample gradients need it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, 1 + tokens, width)."""
        return torch.cat([self.weight.expand(len(tokens_BTC), -1, -1), tokens_BTC], dim=1)


class TokenPlaces(nn.Module):
    """Learnt vectors for the places of all tokens, added to them; a module of its own likewise."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, places, width))

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        return tokens_BTC + self.weight


class PatchEmbedding(nn.Module):
    """Patches, the class token and their places: images (B, C, H, W) to tokens (B, 1 + patches, width).

    The library's own module of the same purpose has parameters of its own beside dropout, of which gradients of single
    records cannot be had.
    """

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(config.num_channels, config.width, config.patch_size, config.patch_size)
        self.first = ClassToken(config.width)
        self.places = TokenPlaces(1 + config.patches, config.width)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return (batch, 1 + patches, width), the class token first and then the patches by rows."""
        patches = self.patches(images_BCHW).flatten(2).transpose(1, 2)
        tokens: Tensor = self.dropout(self.places(self.first(patches)))
        return tokens


class OpenBlock(nn.Module):
    """One of the library's blocks over tokens (batch, tokens, width), each of which sees all."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        returned = self.block(tokens_BTC)
        tokens: Tensor = returned[0] if isinstance(returned, tuple) else returned
        return tokens
