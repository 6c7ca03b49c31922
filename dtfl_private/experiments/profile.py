"""Profile: what each tier of a network costs, and how long a round in it would take each kind of device."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import as_staged, build_description, build_model
from dtfl_private.models.cutting.automatic import good_cuts
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.cutting.tracing import cut_points, stages_behind, trace
from dtfl_private.models.input_kinds import network_facts
from dtfl_private.models.norms import Norm
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.factories import factory_of
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED
from dtfl_private.plugins.specification import is_object_path, named_object, parse
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.runtime.device import one_thread
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.cut_costs import CutChoice, Measure, choose
from dtfl_private.simulation.costs.measurement import measure
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.server_queue import alone_s
from dtfl_private.simulation.transfer_time import transfer_s

CLASSES = 10
"""Classes that a network has where nothing is said."""


def profile(
    model: StagedModel | nn.Module | str,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int = CLASSES,
    norm: Norm = "batch",
    numerics: Numerics | None = None,
    batch_size: int = 32,
    repeats: int = 0,
    head: HeadSize = "paper",
) -> TierTable:
    """Return the cost table of a network; its ``about`` says what was taken. A network that is given is left as it was.

    Args:
        model: the network, or its name as ``resnet-8`` or ``package.module:function``. One that is not a StagedModel is
            cut automatically.
        input_shape: shape of one input: (channels, height, width), or (length,) of tokens. By default the one at which
            `list models` counts a named network.
        classes: outputs of the auxiliary heads, and of a named network.
        norm: kind of normalisation of a named network.
        numerics: device and precision; float32 on the CPU by default.
        batch_size: images per batch of the measured steps.
        repeats: timed steps per half and tier, on one CPU thread; 0 measures nothing.
        head: size of the auxiliary heads.

    Raises:
        InputError: an unknown name, an object without its input shape, or inputs or classes that do not fit.
    """
    numerics = numerics or Numerics()
    shape = _input_shape(model, input_shape)
    with one_thread():
        network = _network(model, shape, classes, norm, measured=repeats > 0)
        table = analyse(network, shape, classes, numerics, head)
        if repeats:
            timing = {"batch_size": batch_size, "repeats": repeats}
            table = measure(table, network, shape, classes, numerics, **timing, head=head)
    name = model if isinstance(model, str) else type(model).__name__
    inputs = "x".join(map(str, shape)) + (" inputs" if len(shape) > 1 else " tokens")
    timed = f"timed on batches of {batch_size}" if repeats else "nothing timed"
    told = f"{classes} classes" if network.vocabulary is None else f"next of {network.vocabulary:,} tokens"
    return replace(table, about=f"{name}, {inputs}, {told}, {numerics.precision}, {timed}")


def _input_shape(model: nn.Module | str, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of an input: the given one, or that of a named network's facts."""
    if given is not None:
        return given
    if not isinstance(model, str):
        kind = type(model).__name__
        raise InputError(f"the network is a {kind}, which does not say what it takes: give input_shape, as (3, 32, 32)")
    if is_object_path("model", model):
        raise InputError(f"network '{model}' does not say what it takes: give input_shape, as (3, 32, 32)")
    name = parse("model", model).name
    facts = network_facts(factory_of("model", name, NOTHING_ALLOWED)[1])
    if facts is None:
        raise InputError(f"network '{model}' does not say what it takes: give input_shape, as (3, 32, 32)")
    return facts.example


def _network(
    model: nn.Module | str, input_shape: tuple[int, ...], classes: int, norm: Norm, *, measured: bool
) -> StagedModel:
    """Return the network itself; a named one only described if it is large and is not measured."""
    if not isinstance(model, str):
        return as_staged(model, input_shape)
    build = build_model if measured else build_description
    allowed = named_object("model", model)
    return build(model, input_shape=input_shape, classes=classes, norm=norm, seed=0, allowed=allowed)


def automatic_cuts(
    model: StagedModel,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    count: int,
    measure: Measure = "macs",
    numerics: Numerics | None = None,
    batch_size: int = 32,
    repeats: int = 0,
) -> CutChoice:
    """Choose cuts among all the places where a network can be cut, besides its own; it is left as it was.

    Args:
        model: the network; places inside its stages are found too.
        input_shape: shape of one input.
        classes: outputs of the auxiliary heads.
        count: number of cuts.
        measure: what the stages should be even in, MACs or measured seconds.
        numerics: device and precision; float32 on the CPU by default.
        batch_size: images per batch of measured steps.
        repeats: timed steps per half and place; seconds need at least one.

    Raises:
        InputError: fewer places than cuts, or seconds without measuring.
    """
    if measure == "seconds" and repeats == 0:
        raise InputError("cuts even in seconds need measured ones: ask for at least 1 repeat")
    good = good_cuts(model, input_shape)
    traced = trace(model)
    names = [name for name in cut_points(traced) if name in good or name in model.stage_names]
    table = profile(
        stages_behind(model, names, traced.whole),
        input_shape=input_shape,
        classes=classes,
        numerics=numerics,
        batch_size=batch_size,
        repeats=repeats if measure == "seconds" else 0,
    )
    own = [place for place, name in enumerate(names) if name in model.stage_names]
    return choose(table, names, own, count, measure)


def round_times_s(
    table: TierTable,
    profiles: Sequence[ResourceProfile],
    *,
    link_unit: LinkUnit,
    images: int,
    cpu_macs_per_s: float,
    server_macs_per_s: float,
) -> FloatArray:
    """Return the simulated seconds of a round for each profile and tier, (P, M), on a server that is free.

    Args:
        table: cost per tier.
        profiles: kinds of devices.
        link_unit: how the profiles' link speeds are read.
        images: training images in the round.
        cpu_macs_per_s: speed of one reference CPU.
        server_macs_per_s: speed of one server worker.
    """
    images_P = np.full(len(profiles), float(images))
    scale = BYTES_PER_S[link_unit]
    com_s_PM = transfer_s(
        table,
        images_P,
        np.array([profile.up_mbit_s for profile in profiles]) * scale,
        np.array([profile.down_mbit_s for profile in profiles]) * scale,
        np.array([profile.latency_ms for profile in profiles]) / 1e3,
    )
    speed_P = np.array([profile.cpus for profile in profiles]) * cpu_macs_per_s
    client_s_PM = images_P[:, None] * table.column("client_train_macs") / speed_P[:, None]
    server_s_PM = images_P[:, None] * table.column("server_train_macs") / server_macs_per_s
    return alone_s(com_s_PM, client_s_PM, server_s_PM)
