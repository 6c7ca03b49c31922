"""Profile: what each tier of a network costs, and how long a round in it would take each kind of device."""

from collections.abc import Sequence

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.automatic import good_cuts
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.cutting.tracing import cut_points, stages_behind, trace
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.runtime.device import one_thread
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.cut_costs import CutChoice, Measure, choose
from dtfl_private.simulation.costs.measurement import measure
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.server_queue import alone_s
from dtfl_private.simulation.transfer_time import transfer_s


def profile(
    model: StagedModel,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    numerics: Numerics | None = None,
    batch_size: int = 32,
    repeats: int = 0,
) -> TierTable:
    """Return the cost table of a network; it is left as it was.

    Args:
        model: the network.
        input_shape: shape of one input (channels, height, width).
        classes: outputs of the auxiliary heads.
        numerics: device and precision; float32 on the CPU by default.
        batch_size: images per batch of the measured steps.
        repeats: timed steps per half and tier, on one CPU thread; 0 measures nothing.
    """
    numerics = numerics or Numerics()
    with one_thread():
        table = analyse(model, input_shape, classes, numerics)
        if repeats == 0:
            return table
        return measure(table, model, input_shape, classes, numerics, batch_size=batch_size, repeats=repeats)


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
    names = [name for name in cut_points(trace(model)) if name in good or name in model.stage_names]
    table = profile(
        stages_behind(model, names),
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
