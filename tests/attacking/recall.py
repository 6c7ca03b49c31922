"""An attack that is told who was trained on."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from dtfl_private.attacking.base import (
    AttackFacts,
    MembershipInference,
)


@dataclass(frozen=True, kw_only=True)
class Remembers(MembershipInference):
    """Scores candidates by whether their image is among the training images: it is told."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"final-model"}), recipe="", per_tier=False)

    images: Any = None

    def scores(self, view):
        known = {image.tobytes() for image in self.images.numpy()}
        stored = (view.candidates.images * 255).round().to(torch.uint8)
        return torch.tensor([float(image.tobytes() in known) for image in stored.numpy()])
