"""Membership by matching: run a candidate through the known client half, and look for it among what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, MembershipInference
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import (
    AuxiliaryRelease,
    label_channel,
    release_auxiliary,
    same_weights,
)
from dtfl_private.attacks.shared.releaser import batch_size
from dtfl_private.attacks.shared.templates import FORMS, Likeness, altered, templates
from dtfl_private.protocol.messages import Seen

# Auxiliary images at most on which likeness is learnt, and as many members and non-members to choose it by.
LEARNT_ON = 512
CHOSEN_BY = 128


@dataclass(frozen=True, kw_only=True)
class MembershipMatching(MembershipInference):
    """Score a candidate by the best match between its activations and any record's smashed data.

    A match is judged by the Gaussian likelihood ratio of "these are the activations of this very image" against "of any
    image", with variances learnt value by value from auxiliary releases: what the batch's norm and the defenses change
    counts as little as it should. Every way to flip and crop the candidate is tried; so are comparisons that no shuffle
    of channels or places can disturb, and which one is used is chosen on auxiliary data by how well it tells released
    images from others. Labels that were sent count by the defenses' own sampler. New; the statistic is that of a
    likelihood-ratio test (Neyman and Pearson 1933) with the template as the alternative.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="match a candidate's activations with what was sent",
    )

    def scores(self, view: View) -> Tensor:
        """Return the log-likelihood ratio of each candidate's best match."""
        groups = same_weights(view)
        return torch.stack([self._scores_among(view, group, place) for place, group in enumerate(groups)]).amax(dim=0)

    def _scores_among(self, view: View, group: Sequence[Seen], place: int) -> Tensor:
        """Return the scores against the records of clients that began with the same weights."""
        program = view.program(group[0], adaptive=self.adaptive, draw="templates")
        return self.matched(view, group, program, place)

    def matched(self, view: View, group: Sequence[Seen], program: ClientProgram, place: int) -> Tensor:
        """Return the scores (candidates,) of templates made by a program, against the records of these clients."""
        likeness = chosen_likeness(view, group, program, adaptive=self.adaptive)
        batches = {id(batch): batch for seen in group for batch in seen.batches}.values()  # each once
        released = torch.cat([batch.smashed for batch in batches])
        sent_labels = torch.cat([batch.labels for batch in batches]).cpu()
        candidates, size = view.candidates, batch_size(group)
        tells = label_channel(view, group[0], adaptive=self.adaptive).log()[candidates.labels][:, sent_labels]
        chance, best = view.chance("candidates", place), torch.full((len(candidates.labels),), -torch.inf)
        variants = list(altered(candidates.images, view.augmentations))
        for number, images in enumerate(variants):
            made = templates(program, images, candidates.labels, size, chance, message=likeness.message)
            ratios = likeness.log_ratios(made, released).cpu() + tells
            best = torch.maximum(best, ratios.amax(dim=1).float())
            view.progress(number + 1, len(variants))
        return best


def chosen_likeness(view: View, group: Sequence[Seen], program: ClientProgram, *, adaptive: bool) -> Likeness:
    """Return the likeness that best tells auxiliary images that were released from others that were not."""
    images, labels = view.auxiliary.images, view.auxiliary.labels
    size, chance = batch_size(group), view.chance("likeness")
    held = min(CHOSEN_BY, len(images) // 4)
    outside, rest = slice(0, held), slice(held, 2 * held + LEARNT_ON)
    released = release_auxiliary(view, group, images[rest], labels[rest], "likeness", adaptive=adaptive)
    inside, learnt = _parts(released, held)
    best: tuple[tuple[float, float], Likeness] | None = None
    for message in (False, True):
        made = templates(program, images[rest], labels[rest], size, chance, message=message)
        others = templates(program, images[outside], labels[outside], size, chance, message=message)
        for form in FORMS:
            likeness = Likeness.fit(released.smashed[learnt], made[released.places[learnt]], form, message=message)
            sent = released.smashed[inside]
            members = likeness.log_ratios(made[released.places[inside]], sent).amax(dim=1)
            quality = separation(members, likeness.log_ratios(others, sent).amax(dim=1))
            if best is None or quality > best[0]:
                best = (quality, likeness)
    assert best is not None
    return best[1]


def _parts(released: AuxiliaryRelease, held: int) -> tuple[slice, slice]:
    """Return which released images play members, and on which likeness is learnt; the latter are half at least."""
    members = min(held, len(released.places) // 2)
    return slice(0, members), slice(members, len(released.places))


def separation(members: Tensor, others: Tensor) -> tuple[float, float]:
    """Return how well scores tell members from others: the AUC, and, where that is equal, the gap in deviations."""
    above = (members[:, None] > others).double() + (members[:, None] == others).double() / 2
    deviation = ((members.double().var() + others.double().var()) / 2).sqrt().clamp(min=1e-12)
    return float(above.mean()), float((members.double().mean() - others.double().mean()) / deviation)
