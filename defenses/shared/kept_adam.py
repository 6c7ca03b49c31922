"""Tensors that a client trains by Adam and keeps from round to round, optimiser and all. No defense of its own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.protection.client_context import ClientRound

# What torch.optim.Adam keeps for each tensor.
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


def restored_adam(weights: Mapping[str, Tensor], lr: float, at: ClientRound, place: str) -> torch.optim.Adam:
    """Return Adam for leaf tensors, in the state in which `remember` left it under the same place, if it did."""
    optimizer = EagerAdam(weights.values(), lr=lr)
    for name, weight in weights.items():
        state = {key: at.memory.get(f"{place}/{key}/{name}") for key in ADAM_STATE}
        if state["step"] is not None:
            optimizer.state[weight] = {
                key: kept if key == "step" else kept.to(weight) for key, kept in state.items() if kept is not None
            }
    return optimizer


def remember(weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, at: ClientRound, place: str) -> None:
    """Keep tensors, and the optimiser's state of each, in the client's memory."""
    for name, weight in weights.items():
        at.memory[f"{place}/weight/{name}"] = weight.detach()
        for key in ADAM_STATE:
            at.memory[f"{place}/{key}/{name}"] = optimizer.state[weight][key]
