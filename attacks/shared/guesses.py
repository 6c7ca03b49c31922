"""Several guesses for a batch, and the rule by which one of them is taken: decided on auxiliary images alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dtfl_private.leakage.image_metrics import psnr

# Of the way from the first guess to another: the images between two guesses are often better than both.
WAYS = (0.25, 0.5, 0.75, 1.0)


class Rule(NamedTuple):
    """Which guess is taken: the candidate, or (None) for each image that of the lowest residual.

    way: how far from the first candidate to it, 0..1.
    """

    candidate: int | None
    way: float = 1.0


DECODED = Rule(0)
"""The first candidate, a decoder's image, as it is."""


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """Guesses for a batch: images (K, B, C, H, W), the decoder's first, and their residuals (K, B)."""

    images: Tensor
    residuals: Tensor

    def chosen(self, rule: Rule) -> Tensor:
        """Return the images (B, C, H, W) that a rule takes."""
        if rule.candidate is None:
            return self.images[self.residuals.argmin(dim=0), torch.arange(self.images.shape[1])]
        return torch.lerp(self.images[0], self.images[rule.candidate], rule.way)

    def rules(self) -> Sequence[Rule]:
        """Return all rules that there are to take one of so many candidates."""
        others = range(1, len(self.images))
        return (DECODED, Rule(None), *(Rule(candidate, way) for candidate in others for way in WAYS))


def best_rule(batches: Sequence[tuple[Guesses, Tensor]]) -> Rule:
    """Return the rule with the best mean PSNR, of candidates for batches and the images (B, C, H, W) they are for.

    Of equally good rules the first, which is the simplest.
    """
    rules = batches[0][0].rules()
    scores: Mapping[Rule, float] = {
        rule: sum(float(psnr(candidates.chosen(rule), images).sum()) for candidates, images in batches)
        for rule in rules
    }
    return max(rules, key=scores.__getitem__)
