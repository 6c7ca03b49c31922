"""A client's round on records of the adversary's own: what it would send of them."""

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import ClientProgram, Parameters


def simulated_change(
    program: ClientProgram, steps: LocalSteps, images: Tensor, labels: Tensor, chance: torch.Generator
) -> Parameters:
    """Return what a client that trained on these images would add to its weights, after its defenses.

    Args:
        program: with the download's weights.
        steps: how clients train; each epoch is in an order of its own.
        images: (N, C, H, W) in [0, 1], on the CPU.
        labels: (N,).
        chance: of the orders.
    """
    begin = program.parameters()
    there = {name: tensor.clone().requires_grad_() for name, tensor in begin.items()}
    optimizer = _optimizer(list(there.values()), steps)
    for _ in range(steps.epochs):
        order = torch.randperm(len(labels), generator=chance)
        for batch in torch.split(order, steps.batch_size or len(labels)):
            loss = program.local_loss(there, images[batch].to(program.device), labels[batch].to(program.device))
            slopes = torch.autograd.grad(loss, list(there.values()))
            for name, slope in zip(there, slopes, strict=True):
                there[name].grad = slope + steps.proximal * (there[name].detach() - begin[name])
            optimizer.step()
    sent = program.sent_parameters({name: tensor.detach() for name, tensor in there.items()})
    return {name: sent[name] - begin[name] for name in begin}


def _optimizer(parameters: list[Tensor], steps: LocalSteps) -> torch.optim.Optimizer:
    """Return an optimiser of a client's, fresh as at the start of its round."""
    if steps.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=steps.lr, weight_decay=steps.weight_decay)
    return torch.optim.SGD(parameters, lr=steps.lr, momentum=steps.momentum, weight_decay=steps.weight_decay)
