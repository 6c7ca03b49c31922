"""Send means of groups of similar records in place of the records."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from dtfl_private.defenses.shared.groups import equal_rows, group_numbers
from dtfl_private.defenses.shared.precision import working
from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RunFacts
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class MicroAggregation(Defense):
    """Replace the activations of similar records of a batch by their mean, in groups of at least k (MDAV).

    After KD-UFSL (Zaland, Mistry, Bhuyan 2026, 2602.17614), which does so to smashed data that go without labels, and
    adds noise to the inputs (here `pixel-dp`). Each record keeps its own label, so that a mean goes with the labels of
    all of its group. By default groups are of one class; records of classes with fewer than k in the batch are put
    together, or, if they are fewer than k in all, into the groups nearest to them: their mean then goes with several
    labels, which trains as a soft label would. A batch of fewer than k records is withheld: zeros are sent.

    k-anonymity in the narrow sense: within one batch, a vector is the same for k records at least. Nothing else: a mean
    of k images may show what they have in common, all of them if they are alike; other batches have the same record
    in other groups, and their means can be intersected; whoever knows k-1 records of a group knows the last one.

    Attributes:
        k: records that share a vector, at least; 1 changes nothing.
        by_class: whether groups are of one class where that is possible, or of the most similar records whatever their
            labels.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="single records: a vector is sent for k records of a batch at least",
        acts_on=("smashed",),
        cost="distances between the records of each batch; accuracy",
        attacker="nothing: equal vectors show the groups; other batches have other groups, which can be intersected",
        couples_records=frozenset({"smashed"}),
        refuses_next_tokens="it averages records of one label, and there is one at each place",
        refuses_padding="lengths would tell the records of a group apart, or padding would count in their means",
    )

    k: Annotated[int, Field(ge=1)] = 3
    by_class: bool = True

    def calibrated(self, run: RunFacts) -> Defense:
        """Refuse batches that could not hold a group."""
        if run.batch_size < self.k:
            raise InputError(
                f"micro-aggregation: k={self.k} records in a group, but batches have {run.batch_size}, and would all "
                f"be withheld: use --batch-size {self.k} or more, or a smaller k"
            )
        return self

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with the means of its groups."""
        if self.k == 1:
            return message
        exact = working(message.smashed)
        labels = message.labels if self.by_class else torch.zeros_like(message.labels)
        numbers = group_numbers(exact.detach().flatten(1), labels, self.k)
        if numbers is None:
            return replace(message, smashed=torch.zeros_like(message.smashed))
        sums = torch.zeros_like(exact).index_add(0, numbers, exact)
        sizes = torch.bincount(numbers, minlength=len(exact)).clamp(min=1).reshape(-1, *[1] * (exact.ndim - 1))
        return replace(message, smashed=(sums / sizes)[numbers].to(message.smashed.dtype))

    def read(self, reading: Reading) -> Reading:
        """Return means with their groups, where equal records show them; zeros show nothing.

        Under noise that came afterwards no two are equal, and what a mean and a record differ by is taken for noise.
        """
        if self.k == 1:
            return reading
        groups = equal_rows(reading.values)
        if len(torch.unique(groups)) == len(groups):
            return replace(reading, deviation=None, shape="normal")
        sent = (reading.values != 0).flatten(1).any(dim=1).reshape(-1, *[1] * (reading.values.ndim - 1))
        return replace(reading, groups=groups, shown=reading.shown & sent)

    def extra_macs(self, cut: Cut) -> int:
        """Return the work of distances between the records of a batch, and of the means."""
        return 0 if self.k == 1 else (cut.batch_size + 1) * cut.cut_values
