"""The defense that changes nothing: a baseline, and the shortest example of a defense."""

from dataclasses import dataclass

import torch

from dtfl_private.messages import SmashedBatch, WeightUpdate


@dataclass(frozen=True, kw_only=True)
class Identity:
    """No defense: smashed data, labels and weights leave the client as they are. No guarantee of any kind."""

    def protect_batch(self, message: SmashedBatch, rng: torch.Generator) -> SmashedBatch:
        """Return the message as it is."""
        return message

    def protect_update(self, message: WeightUpdate, rng: torch.Generator) -> WeightUpdate:
        """Return the message as it is."""
        return message
