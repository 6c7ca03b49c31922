"""Add as much noise to the activations as a stated bound on the reconstruction error asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.precision import standard_normal, working
from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RoundRelease
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.guarantees import Guarantee, ReconstructionBound

# The sensitivity of a record is underestimated with this probability at most.
UNDERESTIMATED = 0.05


def sensitivities(encoder: Callable[[Tensor], Tensor], inputs: Tensor, probes: int, chance: torch.Generator) -> Tensor:
    """Return estimates (B,) of tr(J^T J), J the Jacobian of each record's activations by its inputs.

    Hutchinson's estimator: the mean of ``|J^T v|^2`` over normal v. Unbiased; its relative standard deviation is
    sqrt(2 / probes) for a Jacobian of rank one and less for all others.

    Args:
        encoder: from inputs (B, ...) to activations (B, ...), each record by itself.
        inputs: floating point.
        probes: number of vectors v.
        chance: on the inputs' device.
    """
    # Autocast would compute the Jacobian in bfloat16.
    with torch.enable_grad(), torch.autocast(inputs.device.type, enabled=False):
        points = inputs.detach().requires_grad_()
        outputs = encoder(points)
        total = working(inputs).new_zeros(len(inputs))
        for _ in range(probes):
            (pulled,) = torch.autograd.grad(outputs, points, standard_normal(outputs, chance), retain_graph=True)
            total += working(pulled).flatten(1).square().sum(dim=1)
    return total / probes


@cache
def safety_factor(probes: int) -> float:
    """Return what to multiply an estimate by, so that it is too low with a probability of 5 % at most.

    The estimate is most likely to be too low for a Jacobian of rank one, where it is distributed as chi-squared with
    ``probes`` degrees of freedom (Roosta-Khorasani, Szekely and Ascher 2015, 1404.0122).
    """
    from scipy.stats import chi2  # scipy takes a while to load

    return float(probes / chi2.ppf(UNDERESTIMATED, probes))


def noise_scales(sensitivity: Tensor, input_values: int, mse: float) -> Tensor:
    """Return the standard deviations (B,): the least power of two with ``s^2 >= mse * sensitivity / input_values``.

    A power of two, because the scale itself shows in the noise: one that followed the record smoothly would tell of it
    what the bound does not count.
    """
    needed = (mse * sensitivity / input_values).sqrt()
    positive = needed > 0
    return torch.where(positive, torch.exp2(torch.where(positive, needed, 1).log2().ceil()), 0)


@dataclass(frozen=True, kw_only=True)
class FisherNoise(Defense):
    """Add normal noise, scaled for each record to a bound on the error of its reconstruction (Maeng et al. 2023).

    With noise of standard deviation s on activations of Jacobian J by d inputs, the Fisher information per input value
    is dFIL = tr(J^T J) / (d s^2), and an unbiased reconstruction has a mean squared error of 1 / dFIL at least
    (2305.04146, section 3). s is chosen so that this is ``mse`` or more, in the units of the network's (normalised)
    inputs, where guessing the mean has an error of about 1. The trace is estimated with ``probes`` random vectors and
    raised by a safety factor; it is too low for a record with a probability of 5 % at most. A biased reconstruction,
    one that knows what inputs look like, may have a lower error.

    The noise is in the activations that the auxiliary head trains on, too.

    Attributes:
        mse: bound on the mean squared error per input value, from one release.
        probes: each costs a backward pass; fewer need a larger safety factor (8: 2.9; 16: 2.0).
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="inputs against reconstruction from the smashed data",
        acts_on=("activations",),
        guarantee="a lower bound on the error of an unbiased reconstruction; no epsilon",
        cost="a forward pass and a backward pass per probe in every step; accuracy",
        attacker="the noise drawn; not its scale, which shows",
        group_norm=True,
        excludes={
            "dropout": "its factor on the activations is not in the Jacobian that the noise is calibrated to",
            "dp-weights": "its forward passes would be counted among those that gradients per record are taken of",
        },
    )

    mse: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    probes: Annotated[int, Field(ge=1)] = 8

    def check(self, cut: Cut) -> None:
        """Refuse tokens: there is no derivative by them."""
        if len(cut.input_shape) == 1:
            raise InputError(
                "fisher-noise needs inputs with derivatives, not tokens: leave it out or use gaussian-noise"
            )

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations with noise.

        Here and not on the message, because the weights are still those that made the activations.
        """
        if at.forward is None:
            raise ValueError("fisher-noise needs at.forward")
        inputs = at.forward.inputs
        estimates = sensitivities(at.forward.encoder, inputs, self.probes, at.chance)
        scales = noise_scales(safety_factor(self.probes) * estimates, inputs[0].numel(), self.mse)
        exact = working(smashed)
        noise = standard_normal(exact, at.chance) * scales.to(exact.dtype).reshape(-1, *[1] * (exact.ndim - 1))
        return (exact + noise).to(smashed.dtype)

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations as they are: what is drawn is read."""
        return smashed

    def read(self, reading: Reading) -> Reading:
        """Return the values before the noise, whose scale is another one for each record."""
        return replace(reading, deviation=None, shape="normal")

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the bound, for as many releases as there were epochs."""
        return [ReconstructionBound(mse=self.mse, releases=released.epochs)] if released.batches else []

    def extra_macs(self, cut: Cut) -> int:
        """Return the work of one more forward pass, and of the probes' backward passes to the inputs."""
        return (1 + self.probes) * cut.forward_macs
