"""A client's round on records of the adversary's own: what it would send of them."""

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacks.shared.norm_statistics import running_after


def simulated_change(
    program: ClientProgram, steps: LocalSteps, images: Tensor, labels: Tensor, chance: torch.Generator
) -> Parameters:
    """Return what a client that trained on these images would add to its weights, after its defenses.

    See `simulated_update`.
    """
    sent = simulated_update(program, steps, images, labels, chance)
    return {name: sent[name] - tensor for name, tensor in program.parameters().items()}


def simulated_update(
    program: ClientProgram, steps: LocalSteps, images: Tensor, labels: Tensor, chance: torch.Generator
) -> Parameters:
    """Return weights and batch norm's running statistics as a client that trained on these images would send them.

    Args:
        program: with the download's weights.
        steps: how clients train; each epoch is in an order of its own.
        images: (N, C, H, W) in [0, 1], on the CPU.
        labels: (N,).
        chance: of the orders.
    """
    begin = program.parameters()
    there = {name: tensor.clone().requires_grad_() for name, tensor in begin.items()}
    optimizer, moments = _optimizer(list(there.values()), steps), []
    for _ in range(steps.epochs):
        order = torch.randperm(len(labels), generator=chance)
        for batch in torch.split(order, steps.batch_size or len(labels)):
            with program.norms.watched() as measured:
                loss = program.local_loss(there, images[batch].to(program.device), labels[batch].to(program.device))
            moments.append({name: (mean.detach(), variance.detach()) for name, (mean, variance) in measured.items()})
            slopes = torch.autograd.grad(loss, list(there.values()))
            for name, slope in zip(there, slopes, strict=True):
                there[name].grad = slope + steps.proximal * (there[name].detach() - begin[name])
            optimizer.step()
    trained = {name: tensor.detach() for name, tensor in there.items()}
    return program.sent_parameters({**trained, **running_after(program, moments, len(moments))})


def _optimizer(parameters: list[Tensor], steps: LocalSteps) -> torch.optim.Optimizer:
    """Return an optimiser of a client's, fresh as at the start of its round."""
    if steps.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=steps.lr, weight_decay=steps.weight_decay)
    return torch.optim.SGD(parameters, lr=steps.lr, momentum=steps.momentum, weight_decay=steps.weight_decay)
