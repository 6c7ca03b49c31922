"""Bring your own defense: override the hooks of `Defense` that you need.

python examples/own_defense.py
dtfl-private train --defense examples.own_defense:StochasticRounding:step=0.5 --max-train-images 400 --rounds 3
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dtfl_private import ClientRound, Defense, DefenseFacts, SmashedBatch, TrainConfig, train


@dataclass(frozen=True, kw_only=True)
class StochasticRounding(Defense):
    """Send activations rounded to multiples of ``step``, up or down at random so that their means stay."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="detail of the smashed data", acts_on=("smashed",))

    step: float = 0.25

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with rounded activations."""
        chance = torch.rand(message.smashed.shape, generator=at.chance, device=message.smashed.device)
        rounded = self.step * (message.smashed.float() / self.step + chance).floor()
        return replace(message, smashed=rounded.to(message.smashed.dtype))


def main(out: str | None = None, rounds: int = 8) -> float:
    """Train under the defense, print what may be said of its privacy, and return the accuracy."""
    config = TrainConfig(max_train_images=400, clients=4, rounds=rounds, batch_size=16, lr=0.01, workers=1)
    run = train(config, out=out, defenses=[StochasticRounding(step=0.5)])
    print(*(entry["sentence"] for entry in run.summary["privacy"]), sep="\n")
    return float(run.summary["final_accuracy"])


if __name__ == "__main__":
    main()
