"""What a client computes in a step of its tier, and what memory that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.simulation.costs.operators import CLASSES, NetworkOperators, Operators, StageOperators, joined


@dataclass(frozen=True, kw_only=True)
class HeldParts:
    """What a client in one tier trains: its first modules, its last ones (a U-shaped split), an auxiliary head.

    ``releases_head``: whether what it computes for a release apart from its training passes the head, too.
    """

    first: int
    last: int = 0
    head: bool = False
    releases_head: bool = False


@dataclass(frozen=True, kw_only=True)
class StepOptimizer:
    """What an optimiser moves and keeps.

    Attributes:
        moved: times that the bytes of the trained weights are moved in a step: Adam reads weights, gradients and two
            moments and writes all but the gradients (7); plain SGD reads weights and gradients and writes weights (3),
            with momentum also that, both ways (5).
        kept: times that their bytes are kept as its state.
    """

    moved: int
    kept: int


def step_optimizer(name: str, momentum: float) -> StepOptimizer:
    """Return what one of the toolkit's optimisers moves and keeps."""
    if name == "adam":
        return StepOptimizer(moved=7, kept=2)
    return StepOptimizer(moved=5, kept=1) if momentum else StepOptimizer(moved=3, kept=0)


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """The bytes that training in one tier takes at once: what is there when the backward pass begins."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = {"weights": self.weights, "gradients": self.gradients, "optimiser": self.optimizer}
        parts["activations"] = self.activations
        return f"{megabytes(self.total)} ({', '.join(f'{name} {megabytes(part)}' for name, part in parts.items())})"


def megabytes(count: float) -> str:
    """Return a number of bytes in 10^6 bytes, as text."""
    return f"{count / 1e6:,.4g} MB"


@dataclass(frozen=True, kw_only=True)
class TierWork:
    """What a client computes in a step of one tier, and the memory that takes."""

    training: Operators
    releasing: Operators
    measuring: Operators
    need: MemoryNeed


def tier_work(
    network: NetworkOperators, held: HeldParts, tier: int, optimizer: StepOptimizer, batch_size: int
) -> TierWork:
    """Return the work of a client that trains these parts.

    Args:
        network: operators of its stages.
        held: the parts.
        tier: whose auxiliary head it has, if it has one.
        optimizer: what a step of it moves.
        batch_size: images in a step, for the memory.
    """
    front, back = network.stages[: held.first], network.stages[len(network.stages) - held.last :] if held.last else ()
    heads = [network.heads[tier]] if held.head else []
    trained = [*front, *back, *heads]
    chains = [*_chain([*front, *heads], flows=False), *_chain(back, flows=True)]
    at_the_end = held.head or bool(held.last) or held.first == len(network.stages)
    weights = sum(part.trained_bytes for part in trained)
    stepping = _stepping(network.weight_precision, weights, sum(part.tensors for part in trained), optimizer)
    return TierWork(
        training=joined([*chains, *([network.loss] if at_the_end else []), stepping]),
        releasing=joined([part.forward for part in [*front, *(heads if held.releases_head else [])]]),
        measuring=joined([stage.forward for stage in network.stages]),
        need=MemoryNeed(
            weights=sum(part.weight_bytes for part in trained),
            gradients=weights,
            optimizer=optimizer.kept * weights,
            activations=batch_size * network.input_bytes
            + _kept([*front, *heads], batch_size, first=True)
            + _kept(back, batch_size, first=False),
        ),
    )


def _chain(stages: Sequence[StageOperators], *, flows: bool) -> list[Operators]:
    """Return the operators of training a chain, by the rule of `dtfl_private.simulation.costs.training_macs`."""
    chain = []
    for stage in stages:
        chain.append(stage.inner if flows else stage.first)
        flows = flows or stage.tensors > 0
    return chain


def _kept(stages: Sequence[StageOperators], batch_size: int, *, first: bool) -> float:
    """Return the bytes of the activations that a chain keeps; what one stage puts out and the next keeps counts once.

    ``first``: whether it is the network's first part: its input is there anyway, and no gradient goes to it.
    """
    total, there, flows = 0.0, first, not first
    for stage in stages:
        kept = stage.kept if flows else stage.kept_first
        total += batch_size * (kept.image + (0.0 if there else kept.input_image)) + kept.step
        there = kept.keeps_output
        flows = flows or stage.tensors > 0
    return total


def _stepping(precision: int, weights: float, tensors: int, optimizer: StepOptimizer) -> Operators:
    """Return the optimiser's step: it goes over the weights tensor by tensor."""
    return Operators(
        kind_O=np.array([CLASSES.index("optimizer")]),
        precision_O=np.array([precision]),
        image_macs_O=np.zeros(1),
        image_bytes_O=np.zeros(1),
        step_bytes_O=np.array([float(optimizer.moved * weights)]),
        launches_O=np.array([float(tensors)]),
        steps=1.0,
    )
