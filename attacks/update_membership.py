"""Membership by one client's update: which of all candidates together explain it best."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, MembershipInference, Target
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.joint_least_squares import JointLeastSquares, SharesPrior
from dtfl_private.attacks.shared.linear_update import LinearUpdate
from dtfl_private.attacks.shared.observed_update import ObservedUpdate
from dtfl_private.attacks.shared.record_influences import influences
from dtfl_private.attacks.shared.simulated_client import local_batches, update_after
from dtfl_private.attacks.shared.stretches import Stretches
from dtfl_private.attacks.shared.update_target import steps_taken
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Simulated rounds with the normal effort, and at least: fewer say too little of the noise.
SHADOWS, FEWEST = 160, 40
# Those that a user may ask for, at least: more than the stretches of a round by far.
LEAST_SHADOWS = 20
# Batches in which a candidate's influence is measured, likewise: in each it is another one. Records of one, at most.
CONTEXTS, FEWEST_CONTEXTS, MOST_RECORDS = 8, 2, 32
# Stretches of a round that are told apart, at most, and candidates times stretches: a matrix of so many is inverted.
MOST_STRETCHES, MOST_UNKNOWNS = 6, 1200


@dataclass(frozen=True, kw_only=True)
class UpdateMembership(MembershipInference):
    """Solve for all candidates at once which of them a client's update is made of, by simulated updates.

    What a client sends is taken for a sum of what each record adds, and noise. A record adds its influence on the
    gradient of a batch and on batch norm's moments, measured on the line from download to update. How much of that
    arrives at each weight, by the stretch of the round (one or several local steps) that the record is in, and the
    covariance of the noise are learnt from shadow rounds, as in LiRA (Carlini et al. 2022, S&P, 2112.03570): the
    adversary trains as the client did, on random candidates and auxiliary records that fill them up. Bayesian least
    squares then weigh all candidates against each other, so that what one explains speaks for no other; the alignment
    of a gradient with the update (Li et al. 2023, PoPETs, "Effective passive membership inference attacks in federated
    learning against overparameterized models") judges each alone. Of several clients, a candidate's odds are added up.
    Clients that a defense lets train in a way of its own (`dp-weights`) are simulated as if they trained plainly.

    Attributes:
        shadows: simulated rounds for each client; 0 for as many as the effort allows, 160 as a rule and 40 at least.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "updates", "auxiliary-data"}),
        recipe="Bayesian least squares: which candidates' gradients add up to a client's update, by simulated rounds",
        source="new; after Li et al. 2023, PoPETs; Carlini et al. 2022",
        whole=True,
        inputs=ANY_INPUTS,
    )

    shadows: Annotated[int, Field(ge=0)] = 0

    @property
    def budget(self) -> dict[str, int]:
        """The simulated rounds."""
        return {"shadows": self.shadows or max(FEWEST, round(SHADOWS * self.effort))}

    def check(self, target: Target) -> None:
        """Refuse so few rounds that nothing can be learnt from them."""
        super().check(target)
        if self.shadows and self.shadows < LEAST_SHADOWS:
            raise InputError(f"update-membership: shadows={self.shadows} are too few, expected {LEAST_SHADOWS} or more")

    def scores(self, view: View) -> Tensor:
        """Return the log-odds (candidates,) that each candidate is one of the clients' records."""
        if not view.updates:
            raise InputError("no client sent a weight update, which update-membership needs: use --replay")
        records = sum(update.examples for _, update in view.updates)
        found = []
        for number, (seen, update) in enumerate(view.updates):
            part = view.part(number / len(view.updates), (number + 1) / len(view.updates))
            # Half of the candidates are members, of each client as many as its share of all records.
            client = _Client.of(self, part, seen, update, chance=0.5 * update.examples / records)
            found.append(client.log_odds())
        return torch.stack(found).logsumexp(dim=0)


@dataclass(frozen=True, kw_only=True)
class _Client:
    """One client's update, and the rounds that are simulated for it.

    Attributes:
        adaptive: whether the defenses are simulated too.
        view: of the adversary.
        seen: the client's round.
        update: what it sent.
        chance: that a candidate is one of its records.
        shadows: S, simulated rounds.
        contexts: batches in which a candidate's influence is measured.
        stretches: of its local steps.
        program: with the weights that it began with.
        observed: which values of an update are looked at.
        images: of candidates, then auxiliary records.
        labels: of the same.
    """

    adaptive: bool
    view: View
    seen: Seen
    update: WeightUpdate
    chance: float
    shadows: int
    contexts: int
    stretches: Stretches
    program: ClientProgram
    observed: ObservedUpdate
    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, attack: UpdateMembership, view: View, seen: Seen, update: WeightUpdate, *, chance: float) -> "_Client":
        program = view.program(seen, adaptive=attack.adaptive)
        steps, auxiliary = steps_taken(update, view.local_steps), view.auxiliary
        most = max(1, min(MOST_STRETCHES, MOST_UNKNOWNS // len(view.candidates.labels)))
        return cls(
            adaptive=attack.adaptive,
            view=view,
            seen=seen,
            update=update,
            chance=chance,
            shadows=attack.budget["shadows"],
            contexts=max(FEWEST_CONTEXTS, round(CONTEXTS * attack.effort)),
            stretches=Stretches.of(steps, most),
            program=program,
            observed=ObservedUpdate.of(
                program, program.of_update(update), steps, view.chance("weights", seen.download.client)
            ),
            images=torch.cat([view.candidates.images, auxiliary.images, auxiliary.validation_images]),
            labels=torch.cat([view.candidates.labels, auxiliary.labels, auxiliary.validation_labels]),
        )

    @property
    def candidates(self) -> int:
        """N, number of candidates: the first of the records."""
        return len(self.view.candidates.labels)

    def log_odds(self) -> Tensor:
        """Return the log-odds (N,), float64, that each candidate was in the client's round."""
        rounds = [self._simulated(number) for number in range(self.shadows)]
        values, shares, members = (torch.stack(parts) for parts in zip(*rounds, strict=True))
        model = LinearUpdate.fitted(self._influences(), shares, values)
        chances = torch.full((self.candidates,), self.chance, dtype=torch.float64)
        prior = SharesPrior.of(chances, shares, members)
        solution = JointLeastSquares.fitted(model.effects, model.standardised(values), shares, prior)
        sent = self.observed.of_update(self.program.of_update(self.update))
        return solution.log_odds(model.standardised(sent)) + torch.logit(chances)

    def _simulated(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a shadow round's values (D,), shares of the candidates (K, N) and who of them was in it (N,)."""
        chance = self.view.chance("shadow", self.seen.download.client, number)
        members = drawn_members(self.view.candidates.labels, self.chance, self.update.examples, chance)
        missing = self.update.examples - int(members.sum())
        auxiliary = len(self.labels) - self.candidates
        filling = torch.randint(auxiliary, (missing,), generator=chance)
        if missing <= auxiliary:
            filling = torch.randperm(auxiliary, generator=chance)[:missing]
        records = torch.cat([members.nonzero().flatten(), self.candidates + filling])
        steps = self.view.local_steps
        batches = [records[part] for part in local_batches(steps, len(records), chance)]
        program = self.view.program(self.seen, adaptive=self.adaptive, draw=f"shadow/{number}")
        sent = update_after(program, steps, ((self.images[part], self.labels[part]) for part in batches))
        shares = self.stretches.shares(batches, len(self.labels))[:, : self.candidates]
        self.view.progress(number + 1, self.shadows + self.contexts)
        return self.observed.of_update(sent), shares, members

    def _influences(self) -> Tensor:
        """Return what each candidate adds to a batch (N, D): the mean of several batches, spread over the round."""
        sent, own = self.program.of_update(self.update), slice(self.candidates)
        total = torch.zeros(())
        for number in range(self.contexts):
            done = (number + 0.5) / self.contexts
            weights = {
                name: begin + done * (sent[name].to(begin) - begin) for name, begin in self.observed.begin.items()
            }
            chance = self.view.chance("context", self.seen.download.client, number)
            others = torch.randperm(len(self.labels), generator=chance)[: self._others()]
            context = (self.images[others], self.labels[others])
            total = total + influences(self.observed, weights, self.images[own], self.labels[own], context)
            self.view.progress(self.shadows + number + 1, self.shadows + self.contexts)
        return total / self.contexts

    def _others(self) -> int:
        """Return how many other records an influence is measured among: none where no batch norm couples them."""
        size = min(self.view.local_steps.batch_size or self.update.examples, MOST_RECORDS)
        return size - 1 if self.program.norms.momenta else 0


def drawn_members(labels: Tensor, share: float, most: int, chance: torch.Generator) -> Tensor:
    """Return which candidates are in a simulated round, bool (N,): as near to this share of each class as can be.

    Args:
        labels: (N,) of the candidates, who are members and others in equal numbers in each class.
        share: of them that are in it, in the mean.
        most: members, at most.
        chance: of the draw.
    """
    members = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        own = (labels == label).nonzero().flatten()
        count = math.floor(share * len(own) + float(torch.rand((), generator=chance)))
        members[own[torch.randperm(len(own), generator=chance)[:count]]] = True
    chosen = members.nonzero().flatten()
    members[chosen[torch.randperm(len(chosen), generator=chance)[most:]]] = False
    return members
