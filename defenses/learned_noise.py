"""Noise whose scale is learnt for each value, so that it hurts the task least."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.kept_adam import remember, restored_adam
from dtfl_private.defenses.shared.precision import standard_normal, working
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import KNOWN, ClientRound, LocalStep
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.messages import State

# The least and the greatest standard deviation that is learnt, in units of the activations: neither vanishing nor
# infinite, whatever the reward.
LEAST, MOST = 1e-4, 1e4
# Below this mean square, activations count as constant.
BLANK = 1e-12


@dataclass(frozen=True, kw_only=True)
class LearnedNoise(Defense):
    """Add noise of a scale that the client learns for each value of the activations, and draws anew each time.

    After Shredder (Mireshghallah et al. 2020, 1905.11814) and Cloak (Mireshghallah et al. 2021, 2003.12154): noise is
    trained against the loss, with a reward for being large, so that values that the task does not need drown. The
    activations become ``z + scale * noise``, with fresh normal noise for each release, for the auxiliary head and the
    server. The client minimises its loss plus ``reward`` times half the log of the signal-to-noise ratio
    ``E[z^2] / scale^2``, averaged over the values: the scales by Adam, and the activations, so that they do not outgrow
    the noise.

    The papers train noise once, after the network, which is frozen; here both are trained along, on each client, for
    each tier: the network can learn to do without what is hidden, and to hide from the noise. Shredder draws from
    several noise tensors that were learnt, or from Laplace distributions fitted to them; here the distribution itself
    is learnt, by its reparametrisation, as in Cloak. Both papers learn a mean of the noise, too: here it is 0, as the
    trained network is used without noise in the end, and a constant that can be estimated hides nothing.

    No guarantee: activations are not bounded. The scales are not sent, but anybody with similar data can estimate
    them from releases: attacks are given those that the client's last round began with.

    Attributes:
        reward: of one nat of noise-to-signal ratio.
        sd: standard deviation of all values' noise at first, in units of the activations.
        lr: of Adam, for the logarithms of the scales.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, where the task does not need them",
        acts_on=("activations", "loss"),
        cost="a draw per value, a second backward pass through the auxiliary head; accuracy",
        attacker="the noise drawn; not its distribution; averages over releases of a record undo it",
        couples_records=frozenset({"activations"}),
        refuses_padding="it learns a scale for each place, also for places that are padding in most texts",
        nonexpansive=True,
    )

    reward: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    sd: Annotated[float, Field(ge=LEAST, le=MOST)] = 0.5
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.02

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations with noise, which `local_loss` then learns from."""
        exact = working(smashed)
        draw = standard_normal(exact, at.chance)
        noisy = exact + self._log_scales(at.memory, at.tier, exact).exp() * draw
        at.scratch.update(exact=exact, draw=draw, noisy=noisy)
        return noisy.to(smashed.dtype)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Take a step of the scales by the loss so far; return it with the price of the signal."""
        kept = [at.scratch.pop(name, None) for name in ("exact", "draw", "noisy")]
        exact, draw, noisy = (step.smashed if tensor is None else tensor for tensor in kept)
        if kept[2] is not None and noisy.requires_grad:
            (gradient,) = torch.autograd.grad(loss, noisy, retain_graph=True, allow_unused=True)
            self._learn(torch.zeros_like(noisy) if gradient is None else gradient, draw, at)
        signal = working(exact).square().mean().clamp(min=BLANK).log()
        noise = self._log_scales(at.memory, at.tier, working(exact).detach()).mean()
        return loss + self.reward * (signal / 2 - noise)

    def _learn(self, gradient: Tensor, draw: Tensor, at: ClientRound) -> None:
        """Take a step of Adam, by the gradient (B, *cut shape) of the loss at the noisy activations."""
        place = f"{KNOWN}/{at.tier}"
        scales = self._log_scales(at.memory, at.tier, gradient).clone().requires_grad_()
        optimizer = restored_adam({"log_scale": scales}, self.lr, at, place)
        scales.grad = (gradient * draw).sum(dim=0) * scales.detach().exp() - self.reward / scales.numel()
        optimizer.step()
        with torch.no_grad():
            scales.clamp_(math.log(LEAST), math.log(MOST))
        remember({"log_scale": scales}, optimizer, at, place)

    def _log_scales(self, memory: State, tier: int, like: Tensor) -> Tensor:
        """Return the logarithms of scales (*cut shape) as the client last had them in a tier, or as at first."""
        kept = memory.get(f"{KNOWN}/{tier}/weight/log_scale")
        return torch.full_like(like[0], math.log(self.sd)) if kept is None else kept.to(like)

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations as they are: what is drawn is read."""
        return smashed

    def read(self, reading: Reading) -> Reading:
        """Return the values before the noise, which has a scale for each."""
        scales = self._log_scales(reading.known, reading.tier, reading.values).exp()
        return reading.noisier(scales.expand_as(reading.values))

    def extra_macs(self, cut: Cut) -> int:
        """Return the work of adding noise, of its gradients and Adam's steps, and of the signal: ten per value."""
        return 10 * cut.cut_values
