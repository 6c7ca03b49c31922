"""Auxiliary heads, which let a client train its half by a local loss; the ResNets end in the paper's one."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.next_token import make_token_heads
from dtfl_private.models.padding import kept, real_places
from dtfl_private.models.pooling import global_average
from dtfl_private.models.setting_types import HeadSize

# Channels of which a small head sees the mean only.
GROUP = 4


class PooledClassifier(nn.Module):
    """Global average pool and one fully connected layer (dtfl section 1)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W) or sequences (B, T, C)."""
        logits: Tensor = self.fc(global_average(features))
        return logits


class GroupedClassifier(nn.Module):
    """Global average pool, means of each four neighbouring channels, and one fully connected layer."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(-(-features // GROUP), classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W) or sequences (B, T, C)."""
        averages = global_average(features)
        # Zeros fill the last group: the layer's weights make good for its smaller mean.
        whole = F.pad(averages, (0, -averages.shape[1] % GROUP))
        groups = whole.reshape(len(whole), -1, GROUP).mean(dim=2)
        logits: Tensor = self.fc(groups)
        return logits


class LocalClassifier(nn.Module):
    """A layer of as many features at every position, ReLU, global average pool and one fully connected layer."""

    def __init__(self, features: int, classes: int, *, sequence: bool) -> None:
        super().__init__()
        self.local = nn.Linear(features, features) if sequence else nn.Conv2d(features, features, 1)
        self.fc = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W) or sequences (B, T, C), as said."""
        real_BT = real_places(features) if features.ndim == 3 else None
        local = kept(F.relu(self.local(features)), real_BT)  # the layer's bias is no token
        logits: Tensor = self.fc(global_average(local, real_BT))
        return logits


def make_heads(
    shapes: Mapping[int, tuple[int, ...]], classes: int, size: HeadSize = "paper", vocabulary: int | None = None
) -> dict[int, nn.Module]:
    """Return one head per tier for the given cut shapes: images (C, H, W), or sequences (T, C).

    Of C channels (or features of a token) a head of the paper has C weights for each class, a small one C / 4, and a
    large one C squared more than the paper's. With a vocabulary, that of a language model, see `make_token_heads`.

    Raises:
        InputError: a cut of another kind.
    """
    if vocabulary is not None:
        return make_token_heads(shapes, vocabulary, size)
    heads = {}
    for tier, shape in shapes.items():
        if len(shape) not in (2, 3):
            raise InputError(
                f"the cut of tier {tier} has shape {shape}; auxiliary heads need (channels, height, width) "
                "or (tokens, width)"
            )
        heads[tier] = _MAKERS[size](shape, classes)
    return heads


def _channels(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) == 3 else shape[1]


_MAKERS: Mapping[HeadSize, Callable[[tuple[int, ...], int], nn.Module]] = {
    "small": lambda shape, classes: GroupedClassifier(_channels(shape), classes),
    "paper": lambda shape, classes: PooledClassifier(_channels(shape), classes),
    "large": lambda shape, classes: LocalClassifier(_channels(shape), classes, sequence=len(shape) == 2),
}
