"""Two fast attacks of the tests' own: one that works, and one that looks at nothing."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dtfl_private.attacking.base import AttackFacts, Reconstruction

SEES = frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"})


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="a linear map")

    ridge: float = 1e-3

    def reconstruct(self, view):
        program = view.program(view.seen[0], adaptive=self.adaptive)
        data = view.auxiliary
        pairs = zip(data.images.split(4), data.labels.split(4), strict=True)
        z = torch.cat([program.release(*pair) for pair in pairs]).flatten(1).double()
        x = data.images.flatten(1).double()
        weights = torch.linalg.solve(z.T @ z + self.ridge * torch.eye(z.shape[1]), z.T @ x)
        sent = torch.cat([batch.smashed for seen in view.seen for batch in seen.batches])
        return (sent.flatten(1).double() @ weights).float().reshape(-1, *view.input_shape).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Unlabelled(LeastSquares):
    """The same where no labels are sent."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES - {"labels"}, recipe="a linear map")


@dataclass(frozen=True, kw_only=True)
class Blind(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="the mean image, with noise by seed")

    def reconstruct(self, view):
        mean = view.auxiliary.images.mean(dim=0)
        return mean + 0.01 * torch.randn(view.victims, *view.input_shape, generator=view.chance())
