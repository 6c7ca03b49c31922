"""Several guesses for a batch, and the rule by which one of them is taken: decided on auxiliary images alone."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dtfl_private.leakage.image_metrics import psnr

# Of the way from the first guess to another: the images between two guesses are often better than both.
WAYS = (0.25, 0.5, 0.75, 1.0)

# Rules go on to a further batch if their mean PSNR, dB, is so near to the best: what falls behind by more on a batch of
# images does not catch up on the next.
CLOSE = 1.0


class Rule(NamedTuple):
    """Which guess is taken: the candidate, or (None) for each image that of the lowest residual.

    way: how far from the first candidate to it, 0..1.
    """

    candidate: int | None
    way: float = 1.0


FIRST = Rule(0)
"""The first candidate as it is."""


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """Guesses for a batch by candidate: images (B, C, H, W), and their residuals (B,); the first is always there."""

    images: Mapping[int, Tensor]
    residuals: Mapping[int, Tensor]

    def chosen(self, rule: Rule) -> Tensor:
        """Return the images (B, C, H, W) that a rule takes; all candidates that it looks at must be there."""
        if rule.candidate is None:
            images = torch.stack(list(self.images.values()))
            least = torch.stack([self.residuals[candidate] for candidate in self.images]).argmin(dim=0)
            return images[least, torch.arange(images.shape[1])]
        return torch.lerp(self.images[0], self.images[rule.candidate], rule.way)


Offer = Callable[[Collection[int]], Guesses]
"""From numbers of candidates to guesses for a batch with these and the first: each of them may be long work."""


def rules_for(candidates: Collection[int]) -> Sequence[Rule]:
    """Return all rules that there are to take the first or one of these candidates, the simplest first."""
    return (FIRST, Rule(None), *(Rule(candidate, way) for candidate in candidates for way in WAYS))


def needed(rules: Sequence[Rule], candidates: Collection[int]) -> Collection[int]:
    """Return those of the candidates beside the first that rules look at."""
    if any(rule.candidate is None for rule in rules):
        return candidates
    return sorted({rule.candidate for rule in rules if rule.candidate})


def best_rule(batches: Sequence[tuple[Offer, Tensor]], candidates: Collection[int]) -> Rule:
    """Return the rule with the best mean PSNR, of the first and these candidates for batches of images (B, C, H, W).

    Of equally good rules the first, which is the simplest. After each batch, those that have fallen behind are out.
    """
    rules = rules_for(candidates)
    scores = dict.fromkeys(rules, 0.0)
    for count, (offer, images) in enumerate(batches, start=1):
        guesses = offer(needed(rules, candidates))
        for rule in rules:
            scores[rule] += float(psnr(guesses.chosen(rule), images).mean())
        limit = max(scores[rule] for rule in rules) - count * CLOSE
        rules = [rule for rule in rules if scores[rule] >= limit]
    return max(rules, key=scores.__getitem__)
