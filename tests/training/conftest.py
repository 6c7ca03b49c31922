"""What tests of trainings share: tiers that are given, and a network with nothing left to chance."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from torch import nn

from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.protocol.contracts import IntArray, TierChoice


@dataclass(frozen=True)
class _InTiers:
    """A scheduler that puts the participants into these tiers, one after the other."""

    tiers: tuple[int, ...]
    uses_times: ClassVar[bool] = False

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        return np.array(self.tiers)


@pytest.fixture(scope="session")
def in_tiers() -> Callable[..., Prepared]:
    """Put the participants of a prepared run into tiers: ``in_tiers(prepared, 1, 3, 2)``."""

    def put(prepared: Prepared, *tiers: int) -> Prepared:
        schedule = replace(prepared.settings.schedule, scheduler=_InTiers(tiers=tiers))
        return replace(prepared, settings=replace(prepared.settings, schedule=schedule))

    return put


@pytest.fixture
def without_dropout(tiny_network) -> Callable[[], nn.Sequential]:
    """Build the tiny network with nothing left to chance, for plain loops."""

    def build() -> nn.Sequential:
        network = tiny_network()
        network.late[2].p = 0.0
        return network

    return build
