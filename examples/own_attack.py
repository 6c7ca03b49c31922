"""Bring your own attack: return a guess, and common code judges it and sets it against our own attacks.

Step by step: docs/how-to/attack-us.md.

python examples/own_attack.py
dtfl-private attack RUN --attack examples.own_attack:RidgeRegression:strength=0.1
dtfl-private attack RUN --attack examples.own_attack:RidgeRegression --against ladder --tier all
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from dtfl_private import AttackConfig, AttackFacts, Reconstruction, TrainConfig, View, attack, train

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class RidgeRegression(Reconstruction):
    """Map smashed data to images linearly, fitted to what a client would send of the adversary's own images.

    Attributes:
        strength: of the penalty on large weights; 0 for what is best on the adversary's validation images.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"smashed", "auxiliary-data"}), recipe="regression")
    strength: Annotated[float, Field(ge=0)] = 0.0

    def reconstruct(self, view: View) -> torch.Tensor:
        """Return images (victims, C, H, W), in the order of the victims."""
        own = view.auxiliary
        smashed = self.released(view, own.images, own.labels)
        checked = self.released(view, own.validation_images, own.validation_labels)
        strengths = [self.strength] if self.strength else STRENGTHS
        maps = [ridge(smashed, own.images.flatten(1), strength) for strength in strengths]
        errors = [(checked @ one - own.validation_images.flatten(1)).square().mean() for one in maps]
        sent = torch.cat([batch.smashed for seen in view.seen for batch in seen.batches]).flatten(1).cpu()
        return (sent @ maps[int(torch.stack(errors).argmin())]).reshape(-1, *view.input_shape)

    def released(self, view: View, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return what a client would send of images, in batches as clients have them: through its defenses too."""
        program = view.program(view.seen[0], adaptive=self.adaptive)
        batches = zip(torch.split(images, 32), torch.split(labels, 32), strict=True)
        return torch.cat([program.release(*batch) for batch in batches]).flatten(1).cpu()


def ridge(inputs: torch.Tensor, outputs: torch.Tensor, strength: float) -> torch.Tensor:
    """Return the linear map of least squares with a penalty: in the dual form, for more values than images."""
    gram = inputs @ inputs.T + strength * torch.eye(len(inputs))
    solved: torch.Tensor = torch.linalg.solve(gram, outputs)
    return inputs.T @ solved


if __name__ == "__main__":
    run = train(TrainConfig(max_train_images=400, clients=4, rounds=3, batch_size=16))
    config = AttackConfig(tiers=(4,), seeds=1, against="ladder", effort="quick")
    report = attack(run, config, attacks=[RidgeRegression()])
    for found in report.results:
        print(f"{found.source}: {found.metric} {found.value:.3f} ({found.ci_low:.3f}..{found.ci_high:.3f})")
    print(*report.remarks, sep="\n")
