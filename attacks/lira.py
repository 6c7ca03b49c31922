"""The likelihood-ratio attack (LiRA): was a record trained on, judged by shadow runs with and without it?"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, MembershipInference
from dtfl_private.attacking.view import View
from dtfl_private.protocol.messages import State

# With fewer shadows, a variance of one record's own is too uncertain: all share one (Carlini et al. 2022).
OWN_VARIANCE_FROM = 64


@dataclass(frozen=True, kw_only=True)
class Lira(MembershipInference):
    """Compare the final model's confidence in a record with that of shadow runs trained with and without the record.

    Carlini, Carlini, Terzis et al. 2022, Membership inference attacks from first principles (S&P, 2112.03570), the
    online attack, section 4: each shadow is a federated run like the victim's, on a random half of the candidates and
    auxiliary images; each candidate is in half of the shadows. The confidence log p_y/(1 - p_y) is taken for Gaussian,
    and the score is the likelihood ratio. Mirrored images are asked about too where the clients train on such.
    Published: 8.4 % true positives at 0.1 % false ones on CIFAR-10 with 256 shadows.

    Attributes:
        shadows: number of shadow runs, even; each takes as long as the victim's.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "auxiliary-data", "final-model"}),
        recipe="likelihood ratio of the confidence by shadow federated runs with and without a record",
        source="Carlini et al. 2022, 2112.03570",
        per_tier=False,
        whole=True,
        inputs=ANY_INPUTS,
    )

    shadows: Annotated[int, Field(ge=4, multiple_of=2)] = 16

    def scores(self, view: View) -> Tensor:
        """Return the log-likelihood ratio of each candidate."""
        inside = halves(len(view.candidates.labels), self.shadows, view.chance("halves"))
        confidences = []
        for number, members in enumerate(inside):
            confidences.append(confidence(view, self._shadow(view, number, members)))
            view.progress(number + 1, self.shadows)
        return likelihood_ratios(torch.stack(confidences), inside, confidence(view, view.final_model))

    def _shadow(self, view: View, number: int, members: Tensor) -> State:
        """Return the model of a run on these candidates and as many auxiliary images as make up the clients' number."""
        candidates, auxiliary = view.candidates, view.auxiliary
        wanted = max(0, view.records - int(members.sum()))
        filling = torch.randperm(len(auxiliary.labels), generator=view.chance("filling", number))[:wanted]
        return view.shadows.train(
            f"lira-{view.seed}-{number}",
            torch.cat([candidates.images[members], auxiliary.images[filling]]),
            torch.cat([candidates.labels[members], auxiliary.labels[filling]]),
        )


def halves(candidates: int, shadows: int, chance: torch.Generator) -> Tensor:
    """Return which candidates each shadow is trained on, bool (shadows, candidates): each is in half of them."""
    ranks = torch.rand(shadows, candidates, generator=chance).argsort(dim=0).argsort(dim=0)
    return ranks < shadows // 2


def confidence(view: View, model: State) -> Tensor:
    """Return log p_y/(1 - p_y) of each candidate's label y (candidates, queries), float64."""
    images = view.candidates.images
    queries = [images, images.flip(-1)] if "flip" in view.augmentations else [images]
    return torch.stack([scaled(view.logits(model, query), view.candidates.labels) for query in queries], dim=1)


def scaled(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p_y - log(1 - p_y) (N,) without the cancellation of 1 - p_y, float64."""
    logits, own = logits.double(), labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, own).squeeze(1) - others


def likelihood_ratios(shadows: Tensor, inside: Tensor, target: Tensor) -> Tensor:
    """Return log p(target | in) - log p(target | out) of each candidate (N,).

    Args:
        shadows: confidences (S, N, Q) under each shadow.
        inside: which shadow was trained on which candidate, bool (S, N).
        target: confidences (N, Q) under the model that is attacked.
    """
    total = torch.zeros(len(target), dtype=torch.float64)
    for sign, held in ((1, inside), (-1, ~inside)):
        weight = held.double()[:, :, None]
        count = weight.sum(dim=0)
        mean = (weight * shadows).sum(dim=0) / count
        squares = weight * (shadows - mean).square()
        if len(shadows) < OWN_VARIANCE_FROM:
            variance = squares.sum(dim=(0, 1)) / (count - 1).sum(dim=0)
        else:
            variance = squares.sum(dim=0) / (count - 1)
        variance = variance.clamp(min=1e-12)
        log_density = -((target - mean).square() / variance + variance.log() + math.log(2 * math.pi)) / 2
        total += sign * log_density.sum(dim=1)
    return total
