"""What an update says of a client's batches by batch norm's running statistics, which are sent with the weights.

With momentum p a batch whose channels have mean and variance s moves the running ones from r to (1 - p) r + p s. Known
before and after T steps, they give the average of the batches' moments in which a batch with k steps after it weighs
(1 - p)^k: of one step the moments of its very batch, at every layer. As a prior of images: Yin et al. 2021 (CVPR,
"See through gradients", section 3.2); judged by Huang et al. 2021 (NeurIPS, "Evaluating gradient inversion attacks and
defenses in federated learning"), who ask for the batch's own moments, not those of the data: as they are here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.batch_norms import Moments, named
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.models.statistics import MEAN, VARIANCE

# Added to a channel's variance, by which is divided, as a share of the layer's mean one: some channels are dead.
FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class NormStatistics:
    """The weighted averages of the moments that a client's batches had.

    Attributes:
        averages: of the batches' moments, by layer; none where no layer keeps any.
        momenta: share of the batch in the running statistics, by layer.
        steps: T, local steps of the round.
    """

    averages: Mapping[str, Moments]
    momenta: Mapping[str, float]
    steps: int

    @classmethod
    def of(cls, program: ClientProgram, sent: Parameters, steps: int) -> "NormStatistics":
        """Return what was measured on the way from the program's running statistics to those that were sent.

        Args:
            program: with the download's.
            sent: as `ClientProgram.of_update` names them.
            steps: that were taken.
        """
        momenta, averages = program.norms.momenta, {}
        for name, before in program.norms.running.items():
            if f"{name}.{MEAN}" not in sent:  # of a head that is nobody's
                continue
            kept = (1 - momenta[name]) ** steps
            after = [sent[f"{name}.{kind}"].to(before[0]) for kind in (MEAN, VARIANCE)]
            mean, variance = ((new - kept * old) / (1 - kept) for new, old in zip(after, before, strict=True))
            averages[name] = (mean, variance.clamp(min=0))
        return cls(averages=averages, momenta=momenta, steps=steps)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.averages)

    def apart(self, batches: Sequence[Mapping[str, Moments]]) -> Tensor:
        """Return how far the batches' moments are from the client's: squares, in variances, mean of all layers.

        Args:
            batches: moments of each by layer, in their order; each stands for as many steps.
        """
        distances = []
        for name, (own_mean, own_variance) in self.averages.items():
            mean, variance = averaged([batch[name] for batch in batches], self.momenta[name], self.steps)
            scale = own_variance + FLOOR * own_variance.mean() + torch.finfo(variance.dtype).tiny
            distances.append(((mean - own_mean).square() / scale).mean())
            distances.append(((variance - own_variance) / scale).square().mean())
        return torch.stack(distances).mean()


def averaged(batches: Sequence[Moments], momentum: float, steps: int) -> Moments:
    """Return the average of a layer's moments of these batches, each of which stands for as many of all steps."""
    kept = (1 - momentum) ** (steps / len(batches))
    weights = torch.tensor([kept**later for later in reversed(range(len(batches)))]).to(batches[0][0])
    weights = weights / weights.sum()
    mean, variance = (weights @ torch.stack([batch[kind] for batch in batches]) for kind in (0, 1))
    return mean, variance


def running_after(program: ClientProgram, batches: Sequence[Mapping[str, Moments]], steps: int) -> dict[str, Tensor]:
    """Return the running statistics of a client after batches with these moments, as its state names them."""
    moved = {}
    for name, before in program.norms.running.items():
        if name in batches[0]:
            momentum = program.norms.momenta[name]
            kept = (1 - momentum) ** steps
            new = averaged([batch[name] for batch in batches], momentum, steps)
            moved[name] = (kept * before[0] + (1 - kept) * new[0], kept * before[1] + (1 - kept) * new[1])
    return {name: tensor.detach() for name, tensor in named(moved).items()}
