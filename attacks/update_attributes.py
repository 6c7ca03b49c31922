"""How many records of a client have a property that is not the label, from the update of a whole network."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.attacking import base
from dtfl_private.attacking.base import AttackFacts, Target
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacking.view import View
from dtfl_private.attacks.attribute import Attribute, AttributeInference
from dtfl_private.attacks.shared.counted_labels import counted_labels
from dtfl_private.attacks.shared.label_counts import whole_counts
from dtfl_private.attacks.shared.learnt_shares import held_out, learnt_shares, simulated_rounds
from dtfl_private.attacks.shared.norm_statistics import NormStatistics
from dtfl_private.attacks.shared.simulated_client import simulated_update
from dtfl_private.attacks.shared.update_target import steps_taken
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Changes of weights that are learnt from, drawn among all: many more cost memory.
MOST_VALUES = 20_000
# Of a variance, below which a channel is dead.
TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class UpdateAttributes(base.AttributeInference):
    """Estimate how many of a client's records have a property, from what its training did to the whole network.

    After Melis, Song, De Cristofaro and Shmatikov 2019 (S&P, "Exploiting unintended feature leakage in collaborative
    learning", section 5): the adversary trains as the client did on auxiliary records with and without the property,
    and learns to tell from the update which it were. Theirs is a classifier of batches all of whose records have it or
    none; here the share is drawn, with the labels that the client's were counted to be, and read by a ridge regression
    from the changes of the weights and from the moments that batch norm sends along
    (`dtfl_private.attacks.shared.norm_statistics`), whichever does better on rounds that were not learnt from.

    The property is one of `attribute-inference`. Which records have it the update does not say: what is judged is how
    many can be matched.

    Attributes:
        attribute: as of `attribute-inference`.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "updates", "auxiliary-data"}),
        recipe="how many records have a property, learnt from simulated updates of records with and without it",
        source="Melis et al. 2019, S&P",
        whole=True,
    )

    attribute: Attribute = "brightness"

    def check(self, target: Target) -> None:
        """Refuse clients whose smashed data show the property of each record."""
        super().check(target)
        if not target.whole:
            raise InputError(
                "update-attributes reads the update of a whole network; clients in this tier send smashed data, which "
                "show the property of each record: use --attack attribute-inference"
            )

    def values(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return 1 where the measure is above the median of the class in the auxiliary data, else 0."""
        return AttributeInference(attribute=self.attribute).values(images, labels, auxiliary)

    def infer(self, view: View) -> Tensor:
        """Return values (victims,), int64, of each client in ascending order: that of its records is not known."""
        found = []
        for number, (seen, update) in enumerate(view.updates):
            part = view.part(number / len(view.updates), (number + 1) / len(view.updates))
            having = self._count(part, seen, update)
            found += [torch.zeros(update.examples - having, dtype=torch.int64), torch.ones(having, dtype=torch.int64)]
        return torch.cat(found)

    def _count(self, view: View, seen: Seen, update: WeightUpdate) -> int:
        """Return how many of a client's records have the property."""
        program = view.program(seen, adaptive=self.adaptive)
        labels = counted_labels(view, seen, update, self.effort, adaptive=self.adaptive)
        labels = torch.repeat_interleave(torch.arange(view.classes), labels)
        rounds = simulated_rounds(self.effort, steps_taken(update, view.local_steps))
        reader = _Reader.of(view, program, update)
        learnt = _Records.of(self, view.auxiliary, validation=False)
        held = _Records.of(self, view.auxiliary, validation=True)
        chance = view.chance("shares of the property", seen.download.client)
        examples, shares = [], []
        for number in range(rounds):
            records = held if number >= held_out(rounds).start else learnt
            places = records.drawn(labels, chance)
            played = view.program(seen, adaptive=self.adaptive, draw=f"property/{number}")
            images, own = records.images[places], records.labels[places]
            examples.append(reader.values(simulated_update(played, view.local_steps, images, own, chance)))
            share = records.values[places].double().mean()
            shares.append(torch.stack([1 - share, share]))
            view.progress(number + 1, rounds)
        sent = reader.values(program.of_update(update))
        _, found = learnt_shares(torch.stack(examples), torch.stack(shares), reader.parts(), sent)
        return int(whole_counts(found * update.examples)[1])


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Turns what was sent into values to learn from: moments of batches first, then changes of weights.

    Attributes:
        program: with the download's weights.
        begin: the download's weights.
        places: of the weights that are looked at, among all.
        lr: by which changes are divided.
        steps: of the round.
    """

    program: ClientProgram
    begin: Parameters
    places: Tensor
    lr: float
    steps: int

    @classmethod
    def of(cls, view: View, program: ClientProgram, update: WeightUpdate) -> "_Reader":
        begin = program.parameters()
        count = sum(tensor.numel() for tensor in begin.values())
        places = torch.randperm(count, generator=view.chance("weights"))[:MOST_VALUES]
        steps = steps_taken(update, view.local_steps)
        return cls(program=program, begin=begin, places=places, lr=view.local_steps.lr, steps=steps)

    def values(self, sent: Parameters) -> Tensor:
        """Return what is learnt from (F,), float64, of weights and running statistics."""
        moved = torch.cat([(sent[name].to(tensor) - tensor).flatten() for name, tensor in self.begin.items()])
        moments = NormStatistics.of(self.program, sent, self.steps).averages
        parts = [part for mean, variance in moments.values() for part in (mean, (variance + TINY).log())]
        return torch.cat([*parts, moved.cpu()[self.places].to(self.program.device) / self.lr]).double().cpu()

    def parts(self) -> list[slice]:
        """Return which of the values are tried: moments of the first layer, of all, changes of weights, everything."""
        running = [mean.numel() + variance.numel() for mean, variance in self.program.norms.running.values()]
        moments, every = sum(running), sum(running) + len(self.places)
        of_moments = [slice(0, running[0]), slice(0, moments), slice(0, every)] if running else []
        return [*of_moments, slice(moments, every)]


@dataclass(frozen=True, kw_only=True)
class _Records:
    """Auxiliary records, with the property of each."""

    images: Tensor
    labels: Tensor
    values: Tensor

    @classmethod
    def of(cls, attack: UpdateAttributes, data: Auxiliary, *, validation: bool) -> "_Records":
        images = data.validation_images if validation else data.images
        labels = data.validation_labels if validation else data.labels
        return cls(images=images, labels=labels, values=attack.values(images, labels, data))

    def drawn(self, labels: Tensor, chance: torch.Generator) -> Tensor:
        """Return places of records with these labels; see `with_property`."""
        return with_property(self.labels, self.values, labels, chance)


def with_property(known: Tensor, values: Tensor, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Return places (N,) of auxiliary records of these labels, a drawn share of which has a property.

    Each record has it with a chance that is drawn for all of them: one half in half of the cases, otherwise anything
    from 0 to 1. Where a class has no such record, any of the class, and where there is none of the class, any at all.

    Args:
        known: labels of the auxiliary records.
        values: 1 for those with the property, 0 for others.
        labels: (N,) asked for.
        chance: of the draws.
    """
    share = 0.5 if torch.rand((), generator=chance) < 0.5 else float(torch.rand((), generator=chance))
    wanted = (torch.rand(len(labels), generator=chance) < share).long()
    places = []
    for label, value in zip(labels.tolist(), wanted.tolist(), strict=True):
        fits = (known == label) & (values == value)
        own = next(mask for mask in (fits, known == label, torch.ones_like(fits)) if mask.any()).nonzero().flatten()
        places.append(own[torch.randint(len(own), (), generator=chance)])
    return torch.stack(places)
