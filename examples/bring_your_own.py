"""Bring your own data set, network, scheduler and defense: objects passed to `dtfl_private.train`.

    python examples/bring_your_own.py

Packages that offer such parts to others name them in entry points of the groups ``dtfl_private.datasets``, ``.models``,
``.schedulers`` and ``.defenses`` instead; then they are options of the command line like the built-in ones.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from dtfl_private import (
    ClientRound,
    Defense,
    DefenseFacts,
    ImageDataset,
    SmashedBatch,
    StagedModel,
    TierChoice,
    TrainConfig,
    Transcript,
    train,
)
from dtfl_private.protocol.contracts import IntArray


def stripes(count: int) -> ImageDataset:
    """Return grey 12x12 images of horizontal and vertical stripes, in noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    rows = (torch.arange(12) % 4 < 2).float().expand(12, 12)
    clean = torch.where(labels.view(-1, 1, 1).bool(), rows, rows.T)
    noisy = (160 * clean + 90 * torch.rand(count, 12, 12, generator=generator)).to(torch.uint8).unsqueeze(1)
    half = count // 2
    return ImageDataset(
        name="stripes",
        source="made on the spot",
        classes=("horizontal", "vertical"),
        train_images=noisy[:half],
        train_labels=labels[:half],
        test_images=noisy[half:],
        test_labels=labels[half:],
    )


def small_network() -> StagedModel:
    """Return a network of three stages, hence of two tiers; any modules will do that pass on one tensor."""
    return StagedModel(
        [
            ("stem", nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())),
            ("body", nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())),
            ("classifier", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))),
        ]
    )


class FastestTier:
    """A scheduler: each client gets the tier that it would finish first."""

    uses_times: ClassVar[bool] = True

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers of the participants."""
        fastest: IntArray = choice.tiers_M[choice.times_s_KM.argmin(axis=1)]
        return fastest


@dataclasses.dataclass(frozen=True)
class Rounding(Defense):
    """A defense: smashed data leave the client rounded to halves. It guarantees nothing."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="fine detail of the smashed data", acts_on=("smashed",))

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with rounded activations."""
        return dataclasses.replace(message, smashed=(2 * message.smashed).round() / 2)


def main() -> float:
    """Train with all four, print what the server saw of the first client, and return the final accuracy."""
    transcript = Transcript()
    config = TrainConfig(clients=4, rounds=8, batch_size=16, lr=0.01, workers=1)
    with tempfile.TemporaryDirectory() as scratch:
        run = train(
            config,
            out=Path(scratch, "run"),
            dataset=stripes(400),
            model=small_network(),
            scheduler=FastestTier(),
            defenses=[Rounding()],
            observers=[transcript.record],
        )
    first = next(message for message in transcript.messages if isinstance(message, SmashedBatch))
    levels = len(torch.unique(first.smashed))
    print(f"client {first.client}, tier {first.tier}: {tuple(first.smashed.shape)} in {levels} levels")
    accuracy: float = run.summary["final_accuracy"]
    print(f"test accuracy {accuracy:.3f} after {config.rounds} rounds")
    return accuracy


if __name__ == "__main__":
    main()
