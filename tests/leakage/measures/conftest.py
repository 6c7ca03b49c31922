"""Releases of small client halves whose figures can be worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dtfl_private.leakage.measures.base import Release
from dtfl_private.protection.cost import KnownNoise
from dtfl_private.randomness import torch_stream

Encoder = Callable[[Tensor], Tensor]
MakeRelease = Callable[..., Release]


@pytest.fixture
def images_of() -> Callable[..., Tensor]:
    """Make images (count, 1, side, side) of independent pixels in [0, 1]."""

    def make(count: int, side: int = 3, seed: int = 0) -> Tensor:
        return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def linear() -> Callable[..., tuple[Tensor, Encoder]]:
    """Make a matrix (values, inputs) and the encoder that applies it."""

    def make(values: int, side: int = 3) -> tuple[Tensor, Encoder]:
        matrix = torch.randn(values, side * side, generator=torch.Generator().manual_seed(7))
        return matrix, lambda images: images.flatten(1) @ matrix.T

    return make


@pytest.fixture
def make_release() -> MakeRelease:
    """Make a release of ``encoder(images) + std * noise``; ``std`` 0 is none."""

    def make(images: Tensor, encoder: Encoder, *, std: float = 0.0, batch_size: int = 10, **facts) -> Release:
        def release(batch: Tensor, _labels: Tensor, draw: int) -> Tensor:
            clear = encoder(batch).detach()
            return clear + std * torch.randn(clear.shape, generator=torch_stream(5, draw))

        sent = [release(batch, batch, -number) for number, batch in enumerate(torch.split(images, batch_size), start=1)]
        noise = KnownNoise(std=std) if std else KnownNoise(reason="there is none")
        settings = {"noise": noise, "labels": torch.zeros(len(images), dtype=torch.int64), **facts}
        return Release(
            images=images,
            smashed=torch.cat(sent),
            batch_size=batch_size,
            encoder=encoder,
            release=release,
            **settings,
        )

    return make
