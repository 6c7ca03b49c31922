"""A client's round on records of the adversary's own: what it would send of them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacks.shared.norm_statistics import running_after
from dtfl_private.eager_optimizers import EagerAdam


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
    parts = local_batches(steps, len(labels), chance)
    return update_after(program, steps, ((images[part], labels[part]) for part in parts))


def local_batches(steps: LocalSteps, records: int, chance: torch.Generator) -> list[Tensor]:
    """Return which records each local step of a round is on; each epoch is in an order of its own."""
    size = steps.batch_size or records
    orders = [torch.randperm(records, generator=chance) for _ in range(steps.epochs)]
    return [part for order in orders for part in torch.split(order, size)]


def update_after(program: ClientProgram, steps: LocalSteps, batches: Iterable[tuple[Tensor, Tensor]]) -> Parameters:
    """Return what a client would send after a local step on each of these batches; see `simulated_update`.

    Args:
        program: with the download's weights.
        steps: how clients train.
        batches: images (B, C, H, W) in [0, 1] and labels (B,) of each step.
    """
    begin = program.parameters()
    there = {name: tensor.clone().requires_grad_() for name, tensor in begin.items()}
    optimizer, moments = _optimizer(list(there.values()), steps), []
    for images, labels in batches:
        with program.norms.watched() as measured:
            loss = program.local_loss(there, images.to(program.device), labels.to(program.device))
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
        return EagerAdam(parameters, lr=steps.lr, weight_decay=steps.weight_decay)
    return torch.optim.SGD(parameters, lr=steps.lr, momentum=steps.momentum, weight_decay=steps.weight_decay)
