"""Bring your own attack: return a guess, and common code judges it.

python examples/own_attack.py
dtfl-private attack RUN --attack examples.own_attack:RidgeRegression:strength=0.1
dtfl-private attack RUN --attack examples.own_attack:RidgeRegression --against ladder --tier all
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dtfl_private import AttackConfig, AttackFacts, Reconstruction, TrainConfig, View, attack, train


@dataclass(frozen=True, kw_only=True)
class RidgeRegression(Reconstruction):
    """Map smashed data to images linearly, fitted to what a client would send of the adversary's own images."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"smashed", "auxiliary-data"}), recipe="regression")
    strength: float = 1.0

    def reconstruct(self, view: View) -> torch.Tensor:
        """Return images (victims, C, H, W)."""
        own, program = view.auxiliary, view.program(view.seen[0], adaptive=self.adaptive)
        batches = zip(torch.split(own.images, 32), torch.split(own.labels, 32), strict=True)
        smashed = torch.cat([program.release(images, labels) for images, labels in batches]).flatten(1).cpu()
        gram = smashed.T @ smashed + self.strength * torch.eye(smashed.shape[1])
        weights = torch.linalg.solve(gram, smashed.T @ own.images.flatten(1))
        sent = torch.cat([batch.smashed for seen in view.seen for batch in seen.batches]).flatten(1).cpu()
        images: torch.Tensor = sent @ weights
        return images.reshape(-1, *view.input_shape)


if __name__ == "__main__":
    run = train(TrainConfig(max_train_images=400, clients=4, rounds=3, batch_size=16))
    report = attack(run, AttackConfig(tiers=(4,), seeds=1), attacks=[RidgeRegression()])
    for found in report.results:
        print(f"{found.source}: {found.metric} {found.value:.3f} ({found.ci_low:.3f}..{found.ci_high:.3f})")
