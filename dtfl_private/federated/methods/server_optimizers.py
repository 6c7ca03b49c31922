"""FedAvg with an adaptive optimiser at the server, whose state lives as long as the run."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.federated.methods.full import FullModelMethod
from dtfl_private.federated.round import FederatedState, Sums
from dtfl_private.federated.worker import GlobalWeights, WorkerSetup
from dtfl_private.messages import State, below

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class AdaptiveServer(FullModelMethod):
    """The common part of Reddi et al. (ICLR 2021), algorithm 2.

    With the weighted mean D of the clients' changes as the step that the round proposes: m <- beta1 m + (1 - beta1) D,
    v by the method's rule, w <- w + server_lr m / (sqrt(v) + tau). Buffers, such as batch norm's statistics, have no
    gradient and are averaged. ``extras`` holds ``m/NAME`` and ``v/NAME`` of every parameter.
    """

    server_lr: Rate = 0.03
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    tau: Positive = 1e-3

    @abstractmethod
    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return v after a round whose step has this square."""

    def initial_extras(self, setup: WorkerSetup) -> State:
        """Return m = 0 and v = tau^2."""
        extras: dict[str, Tensor] = {}
        for name, parameter in setup.model.named_parameters():
            extras[f"m/{name}"] = torch.zeros_like(parameter, requires_grad=False)
            extras[f"v/{name}"] = torch.full_like(parameter, self.tau**2, requires_grad=False)
        return extras

    def combine(self, state: FederatedState, sums: Sums) -> tuple[GlobalWeights, State]:
        """Return the weights after the server's step; those of before if nobody completed the round."""
        if not sums.latest:
            return state.weights, state.extras
        model = dict(sums.average().model)
        extras: dict[str, Tensor] = {}
        for name, m in below("m/", state.extras).items():
            before = state.weights.model[name]
            step = model[name] - before
            m = self.beta1 * m + (1 - self.beta1) * step
            v = self.second_moment(state.extras[f"v/{name}"], step.square())
            model[name] = before + self.server_lr * m / (v.sqrt() + self.tau)
            extras |= {f"m/{name}": m, f"v/{name}": v}
        return GlobalWeights(model=model, heads={}), extras


@dataclass(frozen=True, kw_only=True)
class FedAdam(AdaptiveServer):
    """FedAdam (Reddi et al., ICLR 2021): FedAvg whose server takes Adam's step along the mean change.

    v <- beta2 v + (1 - beta2) D^2. Time model: that of FedAvg; the server's step costs no simulated time.
    """

    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return the moving average of squares."""
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True, kw_only=True)
class FedYogi(AdaptiveServer):
    """FedYogi (Reddi et al., ICLR 2021): FedAvg whose server takes Yogi's step along the mean change.

    v <- v - (1 - beta2) D^2 sign(v - D^2). Time model: that of FedAvg; the server's step costs no simulated time.
    """

    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return v moved towards the square by a share of the square, not of the distance."""
        return v - (1 - self.beta2) * square * torch.sign(v - square)
