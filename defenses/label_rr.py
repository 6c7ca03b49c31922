"""Randomised response on labels, drawn once per record (Warner 1965; K classes: Kairouz, Bonawitz, Ramage 2016)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import RoundRelease
from dtfl_private.protection.draws import integers, uniform
from dtfl_private.protocol.guarantees import Guarantee, RandomizedResponse


def keep_probability(epsilon: float, classes: int) -> float:
    """Return the probability of telling the true label, e^epsilon / (e^epsilon + classes - 1)."""
    return 1 / (1 + (classes - 1) * math.exp(-epsilon))


@dataclass(frozen=True, kw_only=True)
class LabelRr(Defense):
    """Randomised response: epsilon per label, by one draw per record that training and every message repeat.

    The client's own training uses the drawn labels too, so that all that leaves depends on the true ones through the
    draw alone. Not label privacy against a party that sees smashed data in clear, or the gradients that a server
    returns for them: these still give the class away. In a simulation the draw comes from the run's seeded generator,
    which is not cryptographically secure; in a deployment from the client's own secret.

    Args:
        epsilon: of the draw, for replacing a record's label.
        correct: whether both halves train by the forward-corrected loss, which expects the true label behind the
            drawn one (Patrini et al. 2017, 1609.03683, section 4.2); the transition matrix is public.
    """

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    correct: bool = True

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="labels",
        acts_on=("labels",),
        guarantee="epsilon per label replaced, whatever the number of releases",
        attacker="the draw (seeded in a simulation: not cryptographically secure then)",
    )

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < float("inf"):
            raise InputError(f"epsilon={self.epsilon} is refused: it must be positive and finite")

    def protect_labels(self, labels: Tensor, records: Tensor, at: ClientRound) -> Tensor:
        """Return each record's label or, as drawn for that record, another one at random."""
        # All records' draws anew each time, from the same stream: memory without a state.
        chance = at.lasting("labels")
        tells_truth = uniform((at.records,), chance, torch.float64) < keep_probability(self.epsilon, at.classes)
        lie = integers(1, max(at.classes, 2), (at.records,), chance)
        shift = torch.where(tells_truth, 0, lie)[records.cpu()].to(labels.device)
        return (labels + shift) % at.classes

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """Return the mean of -log P(drawn label), from the predicted P(true label) and the transition matrix."""
        if not self.correct:
            return None
        keep = keep_probability(self.epsilon, logits.shape[1])
        log_other = math.log(keep) - self.epsilon
        # keep - other, without the cancellation of small epsilons.
        log_gap = math.log(keep) + math.log(-math.expm1(-self.epsilon))
        chosen = F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
        return -torch.logaddexp(chosen + log_gap, torch.full_like(chosen, log_other)).mean()

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the one draw, which batches and update both repeat."""
        if not (released.batches or released.update):
            return ()
        return (RandomizedResponse(epsilon=self.epsilon),)
