"""The figures of a sweep whose runs were attacked: leakage client by client, against what clients differ in."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.rank_correlation import combined_rank_correlation
from dtfl_private.report.comparison.means import Mean, mean_of

TRAITS = ("label_entropy", "records", "oddness")
"""What clients differ in; see `ClientPoint`."""

ALL = "all"
"""The group of runs that differ by their seeds alone."""


@dataclass(frozen=True, kw_only=True)
class LeakageRow:
    """One client of a run under one attack.

    Attributes:
        client: id.
        attack: as the preset spells it.
        tier: client modules m, in which the client was placed.
        aux: the adversary's auxiliary data, as the preset spells them.
        metric: of ``value``: ssim, auc or accuracy.
        n: records of the client that were judged.
        value: their mean.
        guess: the same of the best trivial guess that this adversary can make.
        recovered: share of the way from that guess to the truth: 0 is the guess, 1 the truth.
        records: N_k.
        label_entropy: of its labels, bits.
        oddness: mean distance (root mean square over pixels) of its images to the nearest of the judge's test images.
    """

    client: int
    attack: str
    tier: int
    aux: str
    metric: str
    n: int
    value: float
    guess: float
    recovered: float
    records: int
    label_entropy: float
    oddness: float


@dataclass(frozen=True, kw_only=True)
class ClientPoint(LeakageRow):
    """The same, and which run of the sweep it is of.

    Attributes:
        group: the run's name without its seed: what runs of other seeds share.
        seed: of the run.
    """

    group: str
    seed: int

    @property
    def run(self) -> str:
        """The run's name in the sweep."""
        return f"seed{self.seed}" if self.group == ALL else f"{self.group}-seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class TraitCorrelation:
    """Rank correlation of leakage with a trait, within runs, averaged over them.

    Attributes:
        group: whose runs; None of all runs.
        attack, tier, aux: under which clients leak.
        trait: which.
        found: its value and 95 % interval.
        clients, runs: how many of them there are.
    """

    group: str | None
    attack: str
    tier: int
    aux: str
    trait: str
    found: Interval
    clients: int
    runs: int

    @property
    def apart(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.found.low > 0 or self.found.high < 0


@dataclass(frozen=True, kw_only=True)
class ClientSweep:
    """All attacked clients of a sweep.

    Attributes:
        title: what they show.
        points: one for each client, attack, tier and auxiliary data.
        left_out: attacks that could not be mounted, each in a line with the reason.
    """

    title: str
    points: Sequence[ClientPoint]
    left_out: Sequence[str] = ()

    @cached_property
    def groups(self) -> list[str]:
        """The groups of runs, in the order of the preset."""
        return list(dict.fromkeys(point.group for point in self.points))

    @cached_property
    def attacks(self) -> list[str]:
        """The attacks that were mounted."""
        return list(dict.fromkeys(point.attack for point in self.points))

    @cached_property
    def sources(self) -> list[str]:
        """The adversaries' auxiliary data."""
        return list(dict.fromkeys(point.aux for point in self.points))

    @cached_property
    def tiers(self) -> list[int]:
        """The tiers that were attacked, ascending."""
        return sorted({point.tier for point in self.points})

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({point.seed for point in self.points})

    def of(self, attack: str, tier: int, aux: str, group: str | None = None) -> list[ClientPoint]:
        """Return the clients under one attack at one tier with one kind of auxiliary data; of all groups, or of one."""
        own = self._by_key.get((attack, tier, aux), [])
        return [point for point in own if group is None or point.group == group]

    @cached_property
    def _by_key(self) -> dict[tuple[str, int, str], list[ClientPoint]]:
        found: dict[tuple[str, int, str], list[ClientPoint]] = {}
        for point in self.points:
            found.setdefault((point.attack, point.tier, point.aux), []).append(point)
        return found

    def mean(self, attack: str, tier: int, aux: str, group: str) -> Mean | None:
        """Return the mean leakage (``recovered``) of a group's clients, over all seeds; None without any."""
        own = [point.recovered for point in self.of(attack, tier, aux, group)]
        return mean_of(own) if own else None

    def correlation(
        self, trait: str, attack: str, tier: int, aux: str, group: str | None = None
    ) -> TraitCorrelation | None:
        """Return how leakage goes with a trait, within runs; None where too few clients, or equal ones, are there."""
        own = self.of(attack, tier, aux, group)
        runs: dict[tuple[str, int], list[ClientPoint]] = {}
        for point in own:
            runs.setdefault((point.group, point.seed), []).append(point)
        pairs = [
            (np.array([one.recovered for one in run]), np.array([float(getattr(one, trait)) for one in run]))
            for run in runs.values()
        ]
        found = combined_rank_correlation(pairs)
        if found is None:
            return None
        return TraitCorrelation(
            group=group,
            attack=attack,
            tier=tier,
            aux=aux,
            trait=trait,
            found=found,
            clients=len(own),
            runs=len(runs),
        )

    def correlations(self, group: str | None = None) -> Iterator[TraitCorrelation]:
        """Yield the correlations with every trait, attack by attack, tier by tier; of all runs, or of a group's."""
        for attack in self.attacks:
            for tier in self.tiers:
                for aux in self.sources:
                    found = (self.correlation(trait, attack, tier, aux, group) for trait in TRAITS)
                    yield from (one for one in found if one is not None)

    def document(self) -> dict[str, Any]:
        """Return all figures for programs."""
        groups = [None, *self.groups]
        return {
            "title": self.title,
            "left_out": list(self.left_out),
            "correlations": [asdict(one) for group in groups for one in self.correlations(group)],
            "clients": [asdict(point) for point in self.points],
        }
