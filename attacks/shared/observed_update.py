"""What is looked at of an update: the changes of some weights, and the moments of batches that batch norm measured.

Both are numbers of one vector (D,), which is about linear in the records that a client trained on: its weights move by
sums of their gradients, and batch norm's statistics are means over them. In place of the variance stands the mean
square, which is such a mean itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.batch_norms import Moments
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacks.shared.norm_statistics import NormStatistics

# Weights that are looked at, at most: more say little more, and each of them takes memory for every candidate.
MOST_WEIGHTS = 20000


@dataclass(frozen=True, kw_only=True)
class ObservedUpdate:
    """Turns what was sent, and gradients, into the vectors (D,) that are looked at: W weights, then moments.

    Attributes:
        program: with the download's weights.
        begin: parameters before the round, by name.
        places: (W,) of the weights that are looked at, among all of ``begin`` in their order.
        layers: with batch norm, whose moments are looked at, in the order in which they are.
        steps: local steps of the round.
    """

    program: ClientProgram
    begin: Parameters
    places: Tensor
    layers: Sequence[str]
    steps: int

    @classmethod
    def of(cls, program: ClientProgram, sent: Parameters, steps: int, chance: torch.Generator) -> "ObservedUpdate":
        """Return one that looks at all weights, or at a random sample of them where there are too many.

        Args:
            program: with the download's weights.
            sent: the update, as `ClientProgram.of_update` names it.
            steps: local steps of the round.
            chance: of the sample.
        """
        begin = program.parameters()
        count = sum(tensor.numel() for tensor in begin.values())
        places = torch.arange(count)
        if count > MOST_WEIGHTS:
            places = torch.randint(count, (MOST_WEIGHTS,), generator=chance).sort().values
        layers = tuple(NormStatistics.of(program, sent, steps).averages)
        return cls(program=program, begin=begin, places=places.to(program.device), layers=layers, steps=steps)

    def of_update(self, sent: Parameters) -> Tensor:
        """Return the vector (D,) of an update whose tensors are named as `ClientProgram.of_update` names them."""
        changes = [sent[name].to(tensor) - tensor for name, tensor in self.begin.items()]
        return self.vector(changes, NormStatistics.of(self.program, sent, self.steps).averages)

    def vector(self, weights: Sequence[Tensor], moments: Mapping[str, Moments]) -> Tensor:
        """Return the vector (D,), on the CPU, of what weights did, or of their gradients, and of a batch's moments.

        Args:
            weights: a tensor for each of ``begin``, in their order.
            moments: by layer.
        """
        taken = torch.cat([tensor.detach().flatten() for tensor in weights])[self.places]
        own = [moments[layer] for layer in self.layers]
        means = [value for mean, variance in own for value in (mean, variance + mean.square())]
        return torch.cat([taken.float(), *(value.detach().float() for value in means)]).cpu()
