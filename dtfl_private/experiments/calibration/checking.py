"""How well an engine's figures predict training steps of networks, which they were not fitted on."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from dtfl_private.experiments.calibration.clocks import now_s
from dtfl_private.models.build import build_description
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, split
from dtfl_private.models.heads import make_heads
from dtfl_private.models.input_kinds import blank_inputs, network_facts
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.factories import factory_of, load
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.specification import is_object_path, parse
from dtfl_private.randomness import isolated
from dtfl_private.simulation.clients.engines import Engine, EngineName
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.measurement import drawn_labels, step_s
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.operators import Operators
from dtfl_private.simulation.costs.roofline import device_of
from dtfl_private.simulation.costs.roofline import step_s as roofline_s
from dtfl_private.simulation.costs.tier_work import HeldParts, step_optimizer, tier_work


@dataclass(frozen=True, kw_only=True)
class CheckedStep:
    """A client's training step as predicted and as measured.

    Attributes:
        model: the network.
        tier: client modules; all of them for a client with the whole network.
        predicted_s: seconds by the roofline.
        by_macs_s: seconds by the MACs at the peak alone.
        measured_s: median seconds of the steps that were timed.
        engine: what they ran on.
    """

    model: str
    tier: int
    predicted_s: float
    by_macs_s: float
    measured_s: float
    engine: EngineName = "cpus"

    @property
    def error(self) -> float:
        """The prediction's error, as a share of what was measured."""
        return abs(self.predicted_s - self.measured_s) / self.measured_s


def median_error(steps: Sequence[CheckedStep]) -> float:
    """Return the median error of several steps."""
    return statistics.median(step.error for step in steps)


def built_in_networks() -> list[str]:
    """Return the names of the installed networks that need no files."""
    facts = {name: network_facts(load("model", point)) for name, point in installed("model").items()}
    return [name for name, known in facts.items() if known is None or not known.needs]


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """A client's training step as measured: what it computes, and the median seconds of the steps that were timed."""

    model: str
    tier: int
    train_macs: int
    work: Operators
    measured_s: float

    def checked(self, engine: Engine, name: EngineName, numerics: Numerics, batch_size: int) -> CheckedStep:
        """Return the step beside what an engine's figures predict."""
        profile = ResourceProfile(name="here", cpus=1, up_mbit_s=1, down_mbit_s=1, engines={"cpus": engine})
        device = device_of(profile, numerics.precision, 1.0)
        return CheckedStep(
            model=self.model,
            tier=self.tier,
            predicted_s=roofline_s(self.work, device, device.mains[0], batch_size),
            by_macs_s=batch_size * self.train_macs / device.base_macs_per_s,
            measured_s=self.measured_s,
            engine=name,
        )


def measured_steps(
    model: str,
    numerics: Numerics,
    *,
    input_shape: tuple[int, ...] | None,
    classes: int,
    norm: Norm,
    batch_size: int,
    repeats: int,
    allowed: Allowed = NOTHING_ALLOWED,
) -> list[MeasuredStep]:
    """Return a network's steps in every tier and of the whole; none of one so large that it is only described.

    Args:
        model: name of the network.
        numerics: of the steps.
        input_shape: shape of one input; None: the one at which `list models` counts the network.
        classes: number of classes.
        norm: kind of normalisation.
        batch_size: images in a step.
        repeats: timed steps of each, after one that is not counted.
        allowed: what ``model`` may name by its module.
    """
    shape = input_shape or _example(model)
    built = build_description(model, input_shape=shape, classes=classes, norm=norm, seed=0, allowed=allowed)
    if next(built.parameters()).is_meta:
        return []
    network, table = network_operators(built, shape, classes, numerics), analyse(built, shape, classes, numerics)
    macs = {row.tier: row.client_train_macs for row in table.rows} | {table.modules: table.train_macs}
    with isolated(0, "check"):
        taken_s = list(_measured(built, shape, classes, numerics, batch_size, repeats))
    steps = []
    for (tier, train_macs), measured_s in zip(macs.items(), taken_s, strict=True):
        held = HeldParts(first=tier, head=tier < table.modules)
        work = tier_work(network, held, tier, step_optimizer("adam", 0.0), batch_size).training
        steps.append(MeasuredStep(model=model, tier=tier, train_macs=train_macs, work=work, measured_s=measured_s))
    return steps


def _example(model: str) -> tuple[int, ...]:
    facts = None
    if not is_object_path("model", model):
        facts = network_facts(factory_of("model", parse("model", model).name, NOTHING_ALLOWED)[1])
    return (3, 32, 32) if facts is None else facts.example


def _measured(
    model: StagedModel, shape: tuple[int, ...], classes: int, numerics: Numerics, batch_size: int, repeats: int
) -> Iterator[float]:
    """Yield the median seconds of a step in each tier, and of the whole network."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(batch_size, *shape, generator=generator)
    blank = blank_inputs(shape, batch_size, like=drawn)
    inputs = numerics.place_images(drawn if blank.is_floating_point() else blank)
    labels = drawn_labels(model, shape, classes, batch_size, generator).to(numerics.device)
    resident = numerics.place(copied(model))
    for tier in resident.tiers:
        client, _ = split(resident, tier)
        with torch.no_grad(), numerics.autocast():
            cut = tuple(client(inputs).shape[1:])
        head = numerics.place(make_heads({tier: cut}, classes, vocabulary=model.vocabulary)[tier])
        trained = nn.Sequential(client, head)
        yield step_s(trained, inputs, labels, numerics, repeats, partial(now_s, numerics.device))
    yield step_s(resident, inputs, labels, numerics, repeats, partial(now_s, numerics.device))
