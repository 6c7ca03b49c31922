"""Membership by matching: run a candidate through the known client half, and look for it among what was sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, MembershipInference
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import (
    AuxiliaryRelease,
    label_channel,
    release_auxiliary,
    same_weights,
)
from dtfl_private.attacks.shared.ownership import log_odds_of_owning
from dtfl_private.attacks.shared.read_likeness import ReadLikeness
from dtfl_private.attacks.shared.releaser import batch_size
from dtfl_private.attacks.shared.templates import FORMS, Form, Likeness, Way, altered, templates
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.messages import Seen

# Auxiliary images at most on which likeness is learnt, and as many members and non-members to choose it by.
LEARNT_ON = 512
CHOSEN_BY = 128

OfAny = Literal["normal", "one of many"]


@dataclass(frozen=True, kw_only=True)
class MembershipMatching(MembershipInference):
    """Score a candidate by how likely it owns one of the records that were sent, each of which one alone owns.

    A match is judged by the Gaussian likelihood ratio of "these are the activations of this very image" against "of any
    image", with variances learnt value by value from auxiliary releases: what the batch's norm and the defenses change
    counts as little as it should. Every way to flip and crop the candidate is tried; so are comparisons that no shuffle
    of channels or places can disturb, and one that goes by what defenses say a release shows (`Defense.read`): what
    `dropout` left out does not count, and noise weighs as its sampler says. Which one is used is chosen on auxiliary
    data by how well it tells released images from others. Labels that were sent count by the defenses' own sampler.
    New; the statistic is that of a likelihood-ratio test (Neyman and Pearson 1933) with the template as the
    alternative.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        amortised=True,
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="match a candidate's activations with what was sent",
        inputs=ANY_INPUTS,
    )

    def scores(self, view: View) -> Tensor:
        """Return the log odds of each candidate to own a record."""
        groups = same_weights(view)
        return torch.stack([self._scores_among(view, group, place) for place, group in enumerate(groups)]).logsumexp(
            dim=0
        )

    def _scores_among(self, view: View, group: Sequence[Seen], place: int) -> Tensor:
        """Return the scores against the records of clients that began with the same weights."""
        program = view.program(group[0], adaptive=self.adaptive, draw="templates")
        return self.matched(view, group, program, place)

    def matched(self, view: View, group: Sequence[Seen], program: ClientProgram, place: int) -> Tensor:
        """Return the scores (candidates,) of templates made by a program, against the records of these clients."""
        way, likeness = chosen_likeness(view, group, program, adaptive=self.adaptive)
        batches = {id(batch): batch for seen in group for batch in seen.batches}.values()  # each once
        released = torch.cat([batch.smashed for batch in batches])
        sent_labels = torch.cat([batch.labels for batch in batches]).cpu()
        candidates, size = view.candidates, batch_size(group)
        channel = label_channel(view, group[0], adaptive=self.adaptive).log()
        tells = channel[candidates.labels][:, sent_labels]
        beside: tuple[Tensor, ...] = ()
        if isinstance(likeness, ReadLikeness) and likeness.labels_of_any is not None:
            beside = (channel[likeness.labels_of_any][:, sent_labels],)
        chance, found = view.chance("candidates", place), torch.full(tells.shape, -torch.inf, dtype=torch.float64)
        variants = list(altered(candidates.images, view.augmentations))
        for number, images in enumerate(variants):
            made = templates(program, images, candidates.labels, size, chance, way=way)
            found = torch.logaddexp(found, likeness.log_ratios(made, released, *beside).cpu().double() + tells)
            view.progress(number + 1, len(variants))
        return log_odds_of_owning(found)


def chosen_likeness(
    view: View, group: Sequence[Seen], program: ClientProgram, *, adaptive: bool
) -> tuple[Way, Likeness | ReadLikeness]:
    """Return the templates and likeness that best tell auxiliary images that were released from others."""
    images, labels = view.auxiliary.images, view.auxiliary.labels
    size, chance = batch_size(group), view.chance("likeness")
    held = min(CHOSEN_BY, len(images) // 4)
    outside, rest = slice(0, held), slice(held, 2 * held + LEARNT_ON)
    released = release_auxiliary(view, group, images[rest], labels[rest], "likeness", adaptive=adaptive)
    inside, learnt = _parts(released, held)
    sent, best = released.smashed[inside], None
    for way, forms in ways(program, program.read(released.smashed)):
        made = templates(program, images[rest], labels[rest], size, chance, way=way)
        others = templates(program, images[outside], labels[outside], size, chance, way=way)
        own = made[released.places[learnt]]
        for form in forms:
            if not callable(form) and not torch.isfinite(released.smashed).all():
                continue
            likeness: Likeness | ReadLikeness
            if callable(form):
                likeness = Likeness.fit(released.smashed[learnt], own, form)
            else:
                of_any = torch.cat([own, others])
                likeness = ReadLikeness.fit(program.read, released.smashed[learnt], own, of_any)
                likeness = replace(likeness, any_of=of_any if form == "one of many" else None)
            tried = torch.cat([made[released.places[inside]], others])
            owning = log_odds_of_owning(likeness.log_ratios(tried, sent))
            quality = separation(owning[: len(sent)], owning[len(sent) :])
            if best is None or quality > best[0]:
                if isinstance(likeness, ReadLikeness) and likeness.any_of is not None:
                    # All there are, and of each record those of which its label would be sent.
                    everything = torch.cat([labels[rest], labels[outside]])
                    likeness = replace(likeness, any_of=torch.cat([made, others]), labels_of_any=everything)
                best = (quality, way, likeness)
    assert best is not None
    return best[1:]


def ways(program: ClientProgram, reading: Reading) -> Iterator[tuple[Way, Sequence[Form | OfAny]]]:
    """Yield the ways to make templates, with what is compared.

    That is a learnt form, or, of what defenses let show, what any image's activations are taken for. Where noise is
    known there is nothing to choose: few images, under noise, choose badly.

    Args:
        program: of a client.
        reading: of releases.
    """
    exact = reading.has_known_noise and not reading.left_out and bool(torch.isfinite(reading.values).all())
    if exact and not program.rewrites:
        yield "expected", ("one of many",)
        return
    yield "forward", FORMS
    yield "message", FORMS
    # What a defense of a user's own rewrites goes by the batch that it is in, which candidates have not.
    if not program.rewrites:
        yield "expected", ("normal", "one of many")


def _parts(released: AuxiliaryRelease, held: int) -> tuple[slice, slice]:
    """Return which released images play members, and on which likeness is learnt; the latter are half at least."""
    members = min(held, len(released.places) // 2)
    return slice(0, members), slice(members, len(released.places))


def separation(members: Tensor, others: Tensor) -> tuple[float, float]:
    """Return how well scores tell members from others: the AUC, and, where that is equal, the gap in deviations."""
    above = (members[:, None] > others).double() + (members[:, None] == others).double() / 2
    deviation = ((members.double().var() + others.double().var()) / 2).sqrt().clamp(min=1e-12)
    return float(above.mean()), float((members.double().mean() - others.double().mean()) / deviation)
