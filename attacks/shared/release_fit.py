"""How well texts explain a release: by what a client's program makes of them without chance, and how far off that is.

What dropout in the client half and the defenses add is learnt from releases of auxiliary texts: residuals are taken for
normal, with a covariance of the channels. Where the noise is known and all that there is, that comes to the same as its
own likelihood; where dropout is in it, no other likelihood is at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.releaser import ReleasedImages
from dtfl_private.models.padding import real_places
from dtfl_private.protection.release_reading import Reading, expected_values, log_likelihood

# Added to the covariance, relative to the mean variance of what is released: a release in float32 is no more precise.
PRECISION = 1e-6


@dataclass(frozen=True, kw_only=True)
class ReleaseFit:
    """How unlikely a release is, given what the client's program makes of texts.

    Attributes:
        whitening: (C, C), which makes residuals at a place standard normal.
        exact: by the noise's own likelihood instead.
    """

    whitening: Tensor
    exact: bool = False

    @classmethod
    def learnt(cls, program: ClientProgram, released: Sequence[ReleasedImages]) -> "ReleaseFit":
        """Learn the covariance of residuals from batches of auxiliary texts, as a client sends them."""
        residuals, scale = [], []
        for sent in released:
            reading = program.read(sent.smashed)
            real = real_places(sent.smashed)
            expected = expected_values(reading, expected_of(sent.sent_by(program), sent.images))
            residuals.append(((reading.values.double() - expected) * reading.shown)[real])
            scale.append(reading.values.double()[real])
        rows, values = torch.cat(residuals), torch.cat(scale)
        count, channels = rows.shape
        covariance = rows.T @ rows / max(1, count)
        # Of few places the covariances of channels are shrunk, as if there were as many more places as channels.
        diagonal = covariance.diagonal().diag_embed()
        covariance = (count * covariance + channels * diagonal) / (count + channels)
        floor = PRECISION * values.square().mean().clamp(min=1e-12)
        covariance = covariance + floor * torch.eye(channels, dtype=torch.float64, device=rows.device)
        return cls(whitening=torch.linalg.inv(torch.linalg.cholesky(covariance)))

    def misfits(self, reading: Reading, expected: Tensor) -> Tensor:
        """Return -log p(release | texts) (B,), float64, but for a constant, of expected activations (B, T, C)."""
        if self.exact:
            return -log_likelihood(reading, expected)
        residual = (reading.values.double() - expected_values(reading, expected)) * reading.shown
        return (residual @ self.whitening.T).square().flatten(1).sum(dim=1) / 2


def expected_of(program: ClientProgram, tokens: Tensor) -> Tensor:
    """Return what a program makes of tokens (B, T), without chance: activations (B, T, C)."""
    with torch.no_grad():
        return program.expected(tokens)


def without_chance(program: ClientProgram) -> ClientProgram:
    """Switch a program's dropout off, in place, and return it; batch norms stay as they are."""
    for module in program.modules.modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = False
    return program
