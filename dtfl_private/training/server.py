"""The server's side of a round: train md_(m+1)..md_L on the messages that arrive, of one client or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.training.optimizers import OptimizerSettings, make_optimizer


class TrainedHalf(Protocol):
    """What a client's result is made of."""

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        ...

    def mean_loss(self, client: int) -> float:
        """Return the mean loss over a client's messages."""
        ...


@dataclass(frozen=True, kw_only=True)
class Kept:
    """All of a server's half that a message changes; ``entries``, ``losses``: of the messages before it."""

    modules: State
    optimizer: Mapping[Tensor, dict[str, Tensor]]
    gradients: Sequence[Tensor | None]
    entries: list[int]
    losses: dict[int, list[Tensor]]


class ServerHalf:
    """A copy of w_s for one round: of one client, or of clients that share it.

    A message enters behind its client's cut; modules that it does not reach take no step on it.

    Args:
        modules: md_(m+1)..md_L, whose weights are overwritten by ``weights``.
        tier: m, the client modules of the shallowest cut.
        weights: the global model's weights of these modules.
        optimizer: kind and constants of the optimiser, which lives for this round.
        lr: the round's learning rate.
        numerics: device and precision.
        defense: of the client, or of one; the server uses its public loss for protected labels only.
    """

    def __init__(
        self,
        *,
        modules: StagedModel,
        tier: int,
        weights: State,
        optimizer: OptimizerSettings,
        lr: float,
        numerics: Numerics,
        defense: DefenseChain,
    ) -> None:
        modules.load_state_dict(weights)
        self._modules = modules.train()
        self._tier = tier
        self._optimizer = make_optimizer(modules.parameters(), optimizer, lr)
        self._numerics = numerics
        self._defense = defense
        self._losses: dict[int, list[Tensor]] = {}
        self._entries: list[int] = []  # the module at which each message since the last step came in

    def train_on(self, message: SmashedBatch) -> None:
        """Take one step on a client's message. No gradient goes back."""
        self.take_in(message)
        self.step()

    def take_in(self, message: SmashedBatch, defense: DefenseChain | None = None) -> None:
        """Add a message's gradients to those of the next step; ``defense``: of its client, if clients differ."""
        smashed = message.smashed
        if self._numerics.precision != "bf16":
            smashed = smashed.to(self._numerics.weight_dtype)
        entry = message.tier - self._tier
        behind_the_cut = self._modules[entry:]
        if not self._entries:
            self._optimizer.zero_grad()  # to None, so that Adam leaves out what no message reaches
        with self._numerics.autocast():
            loss = (defense or self._defense).classification_loss(behind_the_cut(smashed), message.labels)
        torch.autograd.backward(loss)
        self._entries.append(entry)
        self._losses.setdefault(message.client, []).append(loss.detach())

    def step(self) -> None:
        """Take one step on all messages since the last, if there are any: by a module's mean over those that reach it.

        That is FedSGD's step, and on messages of one tier MergeSFL's on merged features (Liao et al., ICDE 2024), but
        that batch norm sees each message by itself.
        """
        if not self._entries:
            return
        for place, module in enumerate(self._modules):
            reach_it = sum(entry <= place for entry in self._entries)
            for parameter in module.parameters() if reach_it > 1 else ():
                if parameter.grad is not None:
                    parameter.grad.div_(reach_it)
        self._optimizer.step()
        self._entries.clear()

    def kept(self) -> "Kept":
        """Return a copy of all that a message changes, to `restore` it."""
        return Kept(
            modules=snapshot(self._modules),
            optimizer={
                parameter: {name: tensor.clone() for name, tensor in state.items()}
                for parameter, state in self._optimizer.state.items()
            },
            gradients=[None if one.grad is None else one.grad.clone() for one in self._modules.parameters()],
            entries=list(self._entries),
            losses={client: list(losses) for client, losses in self._losses.items()},
        )

    def restore(self, kept: "Kept") -> None:
        """Be as it was when this copy was taken, which is used up."""
        self._modules.load_state_dict(kept.modules)
        self._optimizer.state.clear()
        self._optimizer.state.update(kept.optimizer)
        for parameter, gradient in zip(self._modules.parameters(), kept.gradients, strict=True):
            parameter.grad = gradient
        self._entries, self._losses = kept.entries, kept.losses

    def is_finite(self) -> bool:
        """Whether weights, statistics, the optimiser's means and the gradients of a step to come are numbers."""
        gradients = [one.grad for one in self._modules.parameters() if self._entries and one.grad is not None]
        means = [tensor for state in self._optimizer.state.values() for tensor in state.values()]
        return all(bool(one.isfinite().all()) for one in [*self._modules.state_dict().values(), *means, *gradients])

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        return snapshot(self._modules)

    def mean_loss(self, client: int) -> float:
        """Return the mean loss over a client's messages so far; 0 before the first."""
        losses = self._losses.get(client)
        return float(torch.stack(losses).cpu().double().mean()) if losses else 0.0
