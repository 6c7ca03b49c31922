"""Low-rank adapters in the blocks of the sizes to plan with (LoRA: Hu et al. 2022, arXiv 2106.09685).

The one layer of a block that makes queries, keys and values, of `d` inputs and `3 d` outputs, computes
W x + 2 B A x. W is frozen, as is all else but the classifier; A (rank, d) is drawn at random, B (3 d, rank) begins
with zeros. That is 4 rank d weights to train in a block: as many as adapters of queries and values apart have.

Checkpoints get theirs from peft (`dtfl_private.models.pretrained.lora`), which sizes to plan with do without.
"""

from torch import Tensor, nn

from dtfl_private.models.attention import Attention
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.frozen import freeze
from dtfl_private.models.heads import PooledClassifier

SCALE = 2.0
"""alpha / rank."""


class Adapted(nn.Module):
    """A fully connected layer with an adapter beside it."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs)."""
        changed: Tensor = self.layer(inputs) + SCALE * self.up(self.down(inputs))
        return changed


def adapt(model: StagedModel, rank: int | None) -> StagedModel:
    """Freeze all of a network but its classifier, put adapters into its attention, in place, and return it.

    Args:
        model: with all its cuts: they are those of the network without adapters.
        rank: of the adapters; 0: there are none; None: nothing is changed.
    """
    if rank is None:
        return model
    model.requires_grad_(requires_grad=False)
    for part in list(model.modules()):
        if isinstance(part, PooledClassifier):
            part.requires_grad_()
        elif isinstance(part, Attention) and rank:
            part.set_submodule("qkv", Adapted(part.qkv, rank))
    freeze(model)
    return model
