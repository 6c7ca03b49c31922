"""What a record adds to the gradient and the moments of a batch.

Batch norm couples a batch: a record also changes what the others' gradients are. So its influence is measured inside a
batch: the difference that it makes as the last record of one whose other records stay the same.
"""

import torch
from torch import Tensor

from dtfl_private.attacking.program import Parameters
from dtfl_private.attacks.shared.observed_update import ObservedUpdate


def influences(
    observed: ObservedUpdate, weights: Parameters, images: Tensor, labels: Tensor, context: tuple[Tensor, Tensor]
) -> Tensor:
    """Return what each record adds to a batch (N, D), against the mean of all.

    Args:
        observed: which values are looked at.
        weights: under which the batch's gradient is taken.
        images: (N, C, H, W) in [0, 1], of the records.
        labels: (N,).
        context: images and labels of the batch's other records; of none where no batch norm couples them.
    """
    found = []
    program, there = observed.program, {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    for image, label in zip(torch.split(images, 1), torch.split(labels, 1), strict=True):
        own, kinds = torch.cat([context[0], image]), torch.cat([context[1], label])
        with program.norms.watched() as moments:
            loss = program.local_loss(there, own.to(program.device), kinds.to(program.device))
        slopes = torch.autograd.grad(loss, list(there.values()))
        found.append(observed.vector(slopes, moments))
    values = torch.stack(found) * (len(context[1]) + 1)
    return values - values.mean(dim=0)
