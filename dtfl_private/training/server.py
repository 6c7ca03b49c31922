"""The server's side of a client's round: train md_(m+1)..md_L on the messages that arrive."""

import torch
from torch import Tensor

from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.training.optimizers import OptimizerSettings, make_optimizer


class ServerHalf:
    """The server's own copy of w_s for one client in one round.

    Args:
        modules: md_(m+1)..md_L, whose weights are overwritten by ``weights``.
        weights: the global model's weights of these modules.
        optimizer: kind and constants of the optimiser, which lives for this round.
        lr: the round's learning rate.
        numerics: device and precision.
        defense: the client's; the server uses its public loss for protected labels only.
    """

    def __init__(
        self,
        *,
        modules: StagedModel,
        weights: State,
        optimizer: OptimizerSettings,
        lr: float,
        numerics: Numerics,
        defense: DefenseChain,
    ) -> None:
        modules.load_state_dict(weights)
        self._modules = modules.train()
        self._optimizer = make_optimizer(modules.parameters(), optimizer, lr)
        self._numerics = numerics
        self._defense = defense
        self._losses: list[Tensor] = []

    def train_on(self, message: SmashedBatch) -> None:
        """Take one step on a client's message. No gradient goes back."""
        smashed = message.smashed
        if self._numerics.precision != "bf16":
            smashed = smashed.to(self._numerics.weight_dtype)
        with self._numerics.autocast():
            loss = self._defense.classification_loss(self._modules(smashed), message.labels)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._losses.append(loss.detach())

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        return snapshot(self._modules)

    @property
    def mean_loss(self) -> float:
        """Mean loss over the messages so far; 0 before the first."""
        return float(torch.stack(self._losses).cpu().double().mean()) if self._losses else 0.0
