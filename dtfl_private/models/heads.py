"""Auxiliary heads, which let a client train its half by a local loss; the ResNets end in the same module."""

from collections.abc import Mapping

from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.models.pooling import global_average


class PooledClassifier(nn.Module):
    """Global average pool and one fully connected layer (dtfl section 1)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W) or sequences (B, T, C)."""
        logits: Tensor = self.fc(global_average(features))
        return logits


def make_heads(shapes: Mapping[int, tuple[int, ...]], classes: int) -> dict[int, PooledClassifier]:
    """Return one head per tier for the given cut shapes: images (C, H, W), or sequences (T, C).

    Raises:
        InputError: a cut of another kind.
    """
    heads = {}
    for tier, shape in shapes.items():
        if len(shape) not in (2, 3):
            raise InputError(
                f"the cut of tier {tier} has shape {shape}; auxiliary heads need (channels, height, width) "
                "or (tokens, width)"
            )
        heads[tier] = PooledClassifier(shape[0] if len(shape) == 3 else shape[1], classes)
    return heads
