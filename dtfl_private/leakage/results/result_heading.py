"""The heading of an attack at a tier: what all its results have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.results.result import Result, SettingValue
from dtfl_private.leakage.significance import Advantage
from dtfl_private.randomness import stream


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What all results of one attack at one tier have in common; see `Result`."""

    tier: int
    cut: tuple[int, ...]
    source: str
    adaptive: bool
    adversary: str | None
    seed: int
    settings: Mapping[str, SettingValue] = field(default_factory=dict)

    def result(
        self,
        metric: str,
        found: Interval,
        *,
        n: int,
        seeds: int,
        baseline: tuple[str, float] | None = None,
        advantage: Advantage | None = None,
    ) -> Result:
        """Return one figure under this heading; ``baseline`` is a trivial guess's name and value."""
        return Result(
            tier=self.tier,
            cut=self.cut,
            source=self.source,
            metric=metric,
            value=found.value,
            ci_low=found.low,
            ci_high=found.high,
            baseline=None if baseline is None else baseline[1],
            baseline_name=None if baseline is None else baseline[0],
            advantage=None if advantage is None else advantage.found.value,
            advantage_ci_low=None if advantage is None else advantage.found.low,
            advantage_ci_high=None if advantage is None else advantage.found.high,
            p_value=None if advantage is None else advantage.p_value,
            n=n,
            seeds=seeds,
            adaptive=self.adaptive,
            adversary=self.adversary,
            settings=dict(self.settings),
        )

    def draws(self, metric: str) -> np.random.Generator:
        """Return the stream of a metric's bootstrap draws."""
        return stream(self.seed, "bootstrap", self.source, self.tier, metric)
