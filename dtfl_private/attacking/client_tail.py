"""The last modules of the network in the hands of an adversary, where clients keep them: their loss and their steps."""

import torch
from torch import Tensor, nn

from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.training.optimizers import OptimizerSettings, make_optimizer


class ClientTail:
    """What a client computes from the outputs that the server sends it, with weights that the adversary has.

    Args:
        modules: the last modules with these weights; a copy, which `step` trains.
        defense: the client's, whose loss of protected labels counts.
        optimizer: the client's.
        lr: its learning rate.
    """

    def __init__(self, modules: nn.Module, defense: DefenseChain, optimizer: OptimizerSettings, lr: float) -> None:
        self.modules = modules.train()
        self._defense = defense
        self._optimizer = make_optimizer(modules.parameters(), optimizer, lr)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (B, classes) of what the client was sent (B, *shape)."""
        logits: Tensor = self.modules(inputs.clone())  # they may begin with a ReLU in place
        return logits

    def gradient(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the gradient (B, *shape) of the client's loss at its inputs, with these labels (B,)."""
        own = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._loss(own, labels), own)
        return gradient

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take the client's step on a batch with these labels (B,)."""
        self._optimizer.zero_grad()
        torch.autograd.backward(self._loss(inputs.detach(), labels))
        self._optimizer.step()

    def _loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self._defense.classification_loss(self.logits(inputs), labels.to(inputs.device))
