"""Networks from a client's smashed data, and its labels, back to the images: g(z, y)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.errors import InputError

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")

# Channels times the side of the grid that the blocks work on, and blocks: deep cuts have small grids and get the wider
# networks, so that all cuts take about the same work.
_WIDTHS = {"small": 256, "medium": 512, "large": 1024}
_BLOCKS = {"small": 2, "medium": 3, "large": 5}
_MOST_CHANNELS = 192
# Channels at the image's own resolution.
_FINE = 16


def map_shape(cut_shape: tuple[int, ...], attack: str) -> tuple[int, int, int]:
    """Return a cut's activations as a map (C, h, w): tokens (T, D) of a square of patches are D channels.

    A token more than a square has is taken for the class token, in front, and left out.

    Raises:
        InputError: they are no map.
    """
    if len(cut_shape) == 3:
        return (cut_shape[0], cut_shape[1], cut_shape[2])
    if len(cut_shape) == 2:
        side = math.isqrt(cut_shape[0])
        if side > 0 and cut_shape[0] - side * side in (0, 1):
            return (cut_shape[1], side, side)
    raise InputError(
        f"{attack} takes activations (channels, height, width) or a square of tokens (tokens, width), not {cut_shape}: "
        "leave this tier out"
    )


def as_map(smashed: Tensor) -> Tensor:
    """Return activations (B, C, h, w) or (B, T, D) as maps (B, C, h, w); see `map_shape`."""
    if smashed.ndim == 4:
        return smashed
    side = math.isqrt(smashed.shape[1])
    patches = smashed[:, smashed.shape[1] - side * side :]
    return patches.transpose(1, 2).reshape(len(smashed), -1, side, side)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What an inverse network maps from and to.

    Attributes:
        cut: (C, h, w) of the activations as a map.
        image: (C, H, W).
        classes: number of classes.
    """

    cut: tuple[int, int, int]
    image: tuple[int, ...]
    classes: int


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; begins as the identity, so that no norm is needed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.conv1(F.relu(hidden))))
        return hidden + change


class InverseNetwork(nn.Module):
    """Residual blocks on a coarse grid, and a fine path at the image's resolution that shallow cuts can be read off by.

    Inputs are standardised by the channels' means and deviations (`standardise_by`). Outputs are not bounded: whoever
    uses them as images clamps them, which a bounded output would only make harder to learn where pixels are black.

    Args:
        shapes: from what to what.
        size: how large.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shapes: Shapes, size: Size) -> None:
        super().__init__()
        channels, height, width = shapes.cut
        self._image = shapes.image
        halved = 2 * height > shapes.image[1] + 1
        side = math.ceil(max(height, width) / (2 if halved else 1))
        wide = min(_MOST_CHANNELS, max(16, _WIDTHS[size] // side // 16 * 16))
        self._factor = math.ceil(shapes.image[1] / (math.ceil(height / 2) if halved else height))
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("scale", torch.ones(channels, 1, 1))
        self.enter = nn.Conv2d(channels, wide, 3, stride=2 if halved else 1, padding=1)
        self.label = nn.Embedding(shapes.classes, wide)
        nn.init.zeros_(self.label.weight)
        self.blocks = nn.Sequential(*(_Block(wide) for _ in range(_BLOCKS[size])))
        self.leave = nn.Conv2d(wide, _FINE * self._factor**2, 3, padding=1)
        self.fine = nn.Conv2d(channels, _FINE, 3, padding=1) if halved else None
        self.polish = _Block(_FINE)
        self.paint = nn.Conv2d(_FINE, shapes.image[0], 3, padding=1)
        self.straight = nn.Conv2d(channels, shapes.image[0], 3, padding=1) if halved else None

    def standardise_by(self, smashed: Tensor) -> None:
        """Take the means and deviations of the channels of activations (N, *cut shape)."""
        smashed = as_map(smashed)
        self.mean.copy_(smashed.mean(dim=(0, 2, 3)).view(-1, 1, 1))
        self.scale.copy_(1 / smashed.std(dim=(0, 2, 3)).clamp(min=1e-6).view(-1, 1, 1))

    def forward(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return images (B, C, H, W), not clamped, of activations (B, *cut shape) and labels (B,)."""
        smashed = (as_map(smashed) - self.mean) * self.scale
        smashed = smashed.contiguous(memory_format=torch.channels_last)
        hidden = self.blocks(self.enter(smashed) + self.label(labels)[:, :, None, None])
        height, width = self._image[1:]
        fine = F.pixel_shuffle(self.leave(F.relu(hidden)), self._factor)[:, :, :height, :width]
        images: Tensor
        if self.fine is None or self.straight is None:
            images = self.paint(F.relu(self.polish(fine))).float()
            return images
        near = F.interpolate(smashed, size=(height, width)) if smashed.shape[2:] != (height, width) else smashed
        painted = self.paint(F.relu(self.polish(fine + self.fine(near))))
        # In full precision also under autocast: this alone inverts a cut that shows the image itself.
        with torch.autocast(near.device.type, enabled=False):
            images = painted.float() + self.straight(near.float())
        return images
