"""Disjoint sets of records: the victims', the adversary's, and non-members."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class IndexSets:
    """Which records are whose. Numbers below the training set's size count its records, the others the test set's.

    Attributes:
        victims: attacked.
        auxiliary: the adversary trains on them; empty if its data are from elsewhere.
        validation: the adversary tunes by them.
        non_members: to be told from members.
    """

    victims: Tensor
    auxiliary: Tensor
    validation: Tensor
    non_members: Tensor

    def __post_init__(self) -> None:
        named = {name: set(getattr(self, name).tolist()) for name in ("auxiliary", "validation", "non_members")}
        named["victims"] = set(self.victims.tolist())
        names = sorted(named)
        for position, one in enumerate(names):
            for other in names[position + 1 :]:
                if common := named[one] & named[other]:
                    raise ValueError(f"{one} and {other} share {len(common)} records, as {min(common)}")


def in_pairs(members: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return as many of the members as of the others in each class, the first ones; ``other_labels`` are by place."""
    kept, matched = [], []
    for label in sorted(set(labels.tolist())):
        of_class, against = members[labels == label], others[other_labels[others] == label]
        pairs = min(len(of_class), len(against))
        kept.append(of_class[:pairs])
        matched.append(against[:pairs])
    return torch.cat(kept), torch.cat(matched)
