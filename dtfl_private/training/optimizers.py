"""Optimisers of one round, and the learning rate's decay over rounds, which is state in, state out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

OptimizerName = Literal["adam", "sgd"]

# An improvement counts when it exceeds this share of the best loss (torch's ReduceLROnPlateau has the same default).
IMPROVEMENT = 1e-4


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Kind of optimiser and its constants; the learning rate is the round's. ``momentum`` is for sgd only."""

    name: OptimizerName
    weight_decay: float = 0.0
    momentum: float = 0.0


def make_optimizer(
    parameters: "Iterable[nn.Parameter]", settings: OptimizerSettings, lr: float
) -> "torch.optim.Optimizer":
    """Return a fresh optimiser; it lives for one round (dtfl section 2)."""
    from dtfl_private.eager_optimizers import EagerAdam, EagerSGD

    if settings.name == "adam":
        return EagerAdam(parameters, lr=lr, weight_decay=settings.weight_decay, fused=True)
    return EagerSGD(parameters, lr=lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True)


@dataclass(frozen=True, kw_only=True)
class PlateauSettings:
    """Multiply the learning rate by ``factor`` after ``patience`` rounds without a better training loss."""

    factor: float
    patience: int


@dataclass(frozen=True, kw_only=True)
class PlateauState:
    """The learning rate, the best training loss so far, and the rounds since."""

    lr: float
    best_loss: float = math.inf
    waited: int = 0


def decay_on_plateau(state: PlateauState, loss: float, settings: PlateauSettings) -> PlateauState:
    """Return the state after a round with this training loss.

    The loss is one of training data: the test set must not steer the training.
    """
    if loss < state.best_loss * (1 - IMPROVEMENT):
        return PlateauState(lr=state.lr, best_loss=loss)
    if state.waited + 1 > settings.patience:
        return PlateauState(lr=state.lr * settings.factor, best_loss=state.best_loss)
    return PlateauState(lr=state.lr, best_loss=state.best_loss, waited=state.waited + 1)
