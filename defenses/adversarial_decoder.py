"""Train the client half against a decoder of its own that tries to reconstruct the inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.defenses.shared.inverter import forward_macs, initial_weights, reconstruct, weight_shapes
from dtfl_private.defenses.shared.kept_adam import remember, restored_adam
from dtfl_private.defenses.shared.precision import working
from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class AdversarialDecoder(Defense):
    """Make the activations hard to invert for a decoder that the client trains itself (after ResSFL, Li et al. 2022).

    In every batch the decoder takes a few Adam steps to reconstruct the inputs; then the client's loss loses
    ``strength`` times the decoder's error, in units of the error of guessing the batch's mean value. Beyond 1, where
    the decoder is no better than that guess, there is nothing more to win, so that the loss cannot run away. ResSFL
    (2205.04007) trains against a decoder once, before the federation, and judges by structural similarity; here each
    client does so throughout, for each tier, on its own data, by the squared error.

    Attributes:
        strength: weight of the decoder's error in the loss.
        steps: of the decoder per batch.
        lr: of the decoder.
        width: channels of the decoder.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, by training them to be hard to invert",
        acts_on=("loss",),
        cost="a small decoder is trained along with the network; accuracy",
        attacker="the client's own decoder; another one, trained longer, may still succeed",
        couples_records=frozenset({"loss"}),
    )

    strength: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    steps: Annotated[int, Field(ge=1)] = 1
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    width: Annotated[int, Field(ge=1)] = 16

    def check(self, cut: Cut) -> None:
        """Refuse tokens: a squared error of token numbers means nothing."""
        if len(cut.input_shape) == 1:
            raise InputError("adversarial-decoder reconstructs images, not tokens: leave it out")

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Train the decoder on the batch and return the loss less its error."""
        inputs, smashed = working(step.inputs), working(step.smashed)
        guess_error = inputs.var(correction=0)
        if guess_error == 0:  # blank inputs: nothing to reconstruct
            return loss
        decoder = self._trained(inputs, smashed.detach(), at)
        error = F.mse_loss(reconstruct(decoder, smashed, step.inputs.shape[1:]), inputs)
        return loss - self.strength * (error / guess_error).clamp(max=1)

    def _trained(self, inputs: Tensor, smashed: Tensor, at: ClientRound) -> Weights:
        """Return the weights of this tier's decoder after its steps on a batch, and remember them."""
        weights = self._weights(inputs, smashed, at)
        optimizer = restored_adam(weights, self.lr, at, str(at.tier))
        with torch.enable_grad():
            for _ in range(self.steps):
                error = F.mse_loss(reconstruct(weights, smashed, inputs.shape[1:]), inputs)
                optimizer.zero_grad()
                torch.autograd.backward(error)
                optimizer.step()
        remember(weights, optimizer, at, str(at.tier))
        return {name: weight.detach() for name, weight in weights.items()}

    def _weights(self, inputs: Tensor, smashed: Tensor, at: ClientRound) -> Weights:
        """Return this tier's decoder as the client last had it, or a new one."""
        shapes = weight_shapes(tuple(smashed.shape[1:]), tuple(inputs.shape[1:]), self.width)
        kept: Mapping[str, Tensor] = {
            name: at.memory[f"{at.tier}/weight/{name}"]
            for layer in shapes
            for name in (f"{layer}.weight", f"{layer}.bias")
            if f"{at.tier}/weight/{name}" in at.memory
        }
        if not kept:
            kept = initial_weights(shapes, at.lasting("decoder", at.tier))
        return {name: tensor.detach().to(smashed).clone().requires_grad_() for name, tensor in kept.items()}

    def extra_macs(self, cut: Cut) -> int:
        """Return the decoder's training steps, its judgement, and the gradient back to the activations."""
        return (3 * self.steps + 2) * forward_macs(cut.cut_shape, cut.input_shape, self.width)
