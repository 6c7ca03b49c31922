"""Membership without the clients' weights: match a candidate through client halves of the adversary's own."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, MembershipInference
from dtfl_private.attacking.view import View
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.surrogate import Surrogate, seen_with


@dataclass(frozen=True, kw_only=True)
class MembershipSurrogate(MembershipInference):
    """Score a candidate as `membership-matching` does, with shadows of the client half in place of its weights.

    Shadows are those of `surrogate`. A candidate's templates are made by one of them, and how much a real release may
    differ from a template is learnt from what the others release: as the client is one more that differs. Each shadow
    makes the templates in turn, and the scores add up.

    Attributes:
        shadows: how many.
        steps: of the training of each, where clients are sent their weights.
        refining_steps: of each, where clients keep networks that all began alike.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "smashed", "labels", "auxiliary-data"}),
        recipe="match a candidate with what was sent, through shadows of the client half",
    )

    shadows: Annotated[int, Field(ge=2)] = 4
    steps: Annotated[int, Field(ge=1)] = 1000
    refining_steps: Annotated[int, Field(ge=0)] = 150

    def scores(self, view: View) -> Tensor:
        """Return the log-likelihood ratio of each candidate being any record: for each client the sum over shadows."""
        surrogate = Surrogate(
            shadows=self.shadows, steps=self.steps, refining_steps=self.refining_steps, adaptive=self.adaptive
        )
        matching = MembershipMatching(adaptive=self.adaptive, effort=self.effort)
        ratios = []
        for client, own in enumerate(view.batches):
            rounds = [seen_with(shadow, own) for shadow in surrogate.shadows_of(view, own)]
            mine = view.with_own_weights(f"membership of {client}", rounds)
            ratios.append(torch.stack([self._scores(matching, mine, turn) for turn in range(self.shadows)]).sum(dim=0))
            view.progress(client + 1, len(view.batches))
        return torch.stack(ratios).logsumexp(dim=0)

    def _scores(self, matching: MembershipMatching, mine: View, turn: int) -> Tensor:
        """Return the scores with templates of one shadow, by what the others release."""
        program = mine.program(mine.seen[turn], adaptive=self.adaptive, draw="templates")
        others = [*mine.seen[:turn], *mine.seen[turn + 1 :]]
        return matching.matched(mine, others, program, turn)
