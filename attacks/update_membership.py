"""Membership by one client's update: has its training moved the network towards a record?"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, MembershipInference
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.simulated_client import simulated_change
from dtfl_private.attacks.shared.update_target import changes
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Simulated rounds with the normal effort, and at least: fewer say too little of a candidate's own means.
SHADOWS, FEWEST = 64, 24
# Where along the change of the weights a record's confidence is asked: beyond the update, what it did shows larger.
ALONG = (1.0, 3.0)
# How far along it, and back, the slope of the confidence is taken.
NEAR = 0.1
# Added to the covariance of what is asked, as a share of its mean variance: few shadows know it badly.
RIDGE = 0.05


@dataclass(frozen=True, kw_only=True)
class UpdateMembership(MembershipInference):
    """Compare how a client's update moves the network's answer to a record with what simulated updates do.

    The adversary trains as the client did, from the weights that the client began with, on random halves of the
    candidates and auxiliary records that fill them up: shadow rounds, each candidate in half of them. Asked are the
    slope of a candidate's confidence along the update (the alignment of its gradient with it: Li et al. 2023, PoPETs,
    "Effective passive membership inference attacks in federated learning against overparameterized models") and the
    confidence at the update and beyond it (Nasr et al. 2019, S&P, "Comprehensive privacy analysis of deep learning").
    Taken for normal, each candidate with means of its own and one covariance for all, they give a likelihood ratio of
    "in" against "out": LiRA (Carlini et al. 2022, S&P, 2112.03570) within one client's round. Of several clients, the
    one that fits a candidate best counts.

    Attributes:
        shadows: simulated rounds, even, for each client; 0 for as many as the effort allows, 64 as a rule
            and 24 at least.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "updates", "auxiliary-data"}),
        recipe="likelihood ratio of what a client's update does to a record, by simulated rounds with and without it",
        source="Li et al. 2023, PoPETs; Carlini et al. 2022",
        whole=True,
    )

    shadows: Annotated[int, Field(ge=0, multiple_of=2)] = 0

    def scores(self, view: View) -> Tensor:
        """Return the log-likelihood ratio (candidates,) of each candidate's likeliest client."""
        if not view.updates:
            raise InputError("no client sent a weight update, which update-membership needs: use --replay")
        shadows = self.shadows or 2 * max(FEWEST // 2, round(SHADOWS // 2 * self.effort))
        return torch.stack(
            [
                self._ratios(view, seen, update, shadows, (place * shadows, len(view.updates) * shadows))
                for place, (seen, update) in enumerate(view.updates)
            ]
        ).amax(dim=0)

    def _ratios(self, view: View, seen: Seen, update: WeightUpdate, shadows: int, done: tuple[int, int]) -> Tensor:
        """Return the log-likelihood ratio of each candidate being the client's; ``done`` is (before, in all)."""
        candidates = len(view.candidates.labels)
        chance = view.chance("shadows", seen.download.client)
        ranks = torch.rand(shadows, candidates, generator=chance).argsort(dim=0).argsort(dim=0)
        inside = ranks < shadows // 2
        program = view.program(seen, adaptive=self.adaptive)
        asked = []
        for number, members in enumerate(inside):
            change, members_kept = self._shadow(view, seen, number, members, update.examples)
            inside[number] = members_kept
            asked.append(answers(view, program, change))
            view.progress(done[0] + number + 1, done[1])
        return likelihood_ratios(torch.stack(asked), inside, answers(view, program, changes(program, update)))

    def _shadow(self, view: View, seen: Seen, number: int, members: Tensor, records: int) -> tuple[Parameters, Tensor]:
        """Return what a simulated round adds to the weights, and which candidates were in it, bool (candidates,)."""
        chance = view.chance("shadow", seen.download.client, number)
        places = members.nonzero().flatten()
        places = places[torch.randperm(len(places), generator=chance)][:records]
        kept = torch.zeros_like(members).index_fill(0, places, value=True)
        auxiliary, missing = view.auxiliary, records - len(places)
        filling = torch.randint(len(auxiliary.labels), (missing,), generator=chance)
        if missing <= len(auxiliary.labels):
            filling = torch.randperm(len(auxiliary.labels), generator=chance)[:missing]
        images = torch.cat([view.candidates.images[places], auxiliary.images[filling]])
        labels = torch.cat([view.candidates.labels[places], auxiliary.labels[filling]])
        program = view.program(seen, adaptive=self.adaptive, draw=f"shadow/{number}")
        return simulated_change(program, view.local_steps, images, labels, chance), kept


def answers(view: View, program: ClientProgram, change: Parameters) -> Tensor:
    """Return what a change of the weights does to each candidate (candidates, Q), float64.

    The slopes of its confidence along the change of each module and of all, and its confidence at places `ALONG` it.
    """
    begin, size = program.parameters(), view.local_steps.batch_size or len(view.candidates.labels)
    parts = [*_by_module(begin), set(begin)]
    found = []
    # Always the same batches: batch norm makes an answer depend on the batch.
    batches = zip(torch.split(view.candidates.images, size), torch.split(view.candidates.labels, size), strict=True)
    for images, labels in batches:
        asked = _Asked(program=program, begin=begin, change=change, images=images, labels=labels)
        slopes = [asked.confidence(NEAR, part) - asked.confidence(-NEAR, part) for part in parts]
        moved = [asked.confidence(far, parts[-1]) for far in ALONG]
        found.append(torch.stack([*slopes, *moved], dim=1).double().cpu())
    return torch.cat(found)


def _by_module(names: Iterable[str]) -> list[set[str]]:
    """Return the names of the parameters of each module md1..mdL of the client half, and of its head."""
    modules: dict[str, set[str]] = {}
    for name in names:
        modules.setdefault(".".join(name.split(".")[:3]), set()).add(name)
    return list(modules.values())


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Records of which is asked how sure the network is of their labels, between download and update and beyond."""

    program: ClientProgram
    begin: Parameters
    change: Parameters
    images: Tensor
    labels: Tensor

    @torch.no_grad()
    def confidence(self, far: float, part: Collection[str]) -> Tensor:
        """Return log p_y - log(1 - p_y) (B,) where these parameters went so far along their change."""
        weights = {
            name: tensor + far * self.change[name] if name in part else tensor for name, tensor in self.begin.items()
        }
        device = self.program.device
        return scaled(self.program.logits(weights, self.images.to(device)), self.labels.to(device))


def scaled(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p_y - log(1 - p_y) (N,) without the cancellation of 1 - p_y."""
    own = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)


def likelihood_ratios(shadows: Tensor, inside: Tensor, target: Tensor) -> Tensor:
    """Return log p(target | in) - log p(target | out) of each candidate (N,), normal with one covariance for all.

    Args:
        shadows: answers (S, N, Q) after each shadow round.
        inside: which shadow had which candidate, bool (S, N).
        target: answers (N, Q) after the round that is attacked.
    """
    means, apart = {}, torch.zeros_like(shadows)
    for held in (True, False):
        weight = (inside == held).double()[:, :, None]
        means[held] = (weight * shadows).sum(dim=0) / weight.sum(dim=0).clamp(min=1)
        apart += weight * (shadows - means[held])
    rows = apart.flatten(0, 1)
    scale = rows.std(dim=0).clamp(min=1e-12)
    rows = rows / scale
    questions = rows.shape[1]
    covariance = rows.T @ rows / len(rows) + RIDGE * torch.eye(questions, dtype=rows.dtype)
    # A candidate's own means, of few shadows each, are uncertain: what all candidates have in common steadies them.
    shift = (means[True] - means[False]) / scale
    shift = 0.5 * (shift + shift.mean(dim=0))
    middle = (target - (means[True] + means[False]) / 2) / scale
    ratios: Tensor = ((middle @ torch.linalg.inv(covariance)) * shift).sum(dim=1)
    return ratios
