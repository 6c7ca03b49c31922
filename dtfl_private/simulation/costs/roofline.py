"""The roofline: how long operators take on a device of one or several engines.

An operator takes max(MACs / peak, bytes moved / bandwidth) on the engine that it runs on (Williams, Waterman and
Patterson, "Roofline: an insightful visual performance model", Communications of the ACM 52(4), 2009), divided by the
share of that which the engine reaches in the operator's class, and the time of its launch. A step is the sum over its
operators, one after the other, and what each step takes besides: nothing overlaps, nothing is fused, and no tensor
stays in a cache between two operators, but as far as shares above 1 say so. Moving data between a device's engines
takes no time: they share its memory.

Products run in the run's precision, on the fastest engine that has it and has the memory. What that engine cannot
compute (in bf16 the operators that autocast leaves in single precision) falls to the fastest other one that can.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.clients.engines import Engine, EngineName, EnginePrecision
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.costs.operators import CLASSES, PRECISIONS, Operators

FULL: tuple[EnginePrecision, ...] = ("fp64", "fp32", "bf16")
"""What cpus compute in where their peaks are not said: what a run can be in."""


@dataclass(frozen=True, kw_only=True)
class PlacedEngine:
    """An engine of a device with all its figures.

    Attributes:
        name: of the engine.
        peak_N: multiply-accumulates per second in each of `PRECISIONS`; 0 where it does not compute in it.
        bytes_per_s: memory bandwidth.
        launch_s: seconds until an operator has begun.
        step_s: seconds of a step besides its operators.
        memory_bytes: what training may take.
        share_N: of the roofline, in each of `CLASSES`.
    """

    name: EngineName
    peak_N: FloatArray
    bytes_per_s: float
    launch_s: float
    step_s: float
    memory_bytes: float
    share_N: FloatArray

    def peak(self, precision: EnginePrecision) -> float:
        """Return the peak in a precision; 0 without it."""
        return float(self.peak_N[PRECISIONS.index(precision)])


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device's engines that can run products in the run's precision, the fastest first, and its other engines.

    Attributes:
        name: of the profile.
        mains: engines for the products.
        others: engines that only take what those cannot compute.
        precision: of the run.
    """

    name: str
    mains: Sequence[PlacedEngine]
    others: Sequence[PlacedEngine]
    precision: EnginePrecision

    @property
    def base_macs_per_s(self) -> float:
        """The peak of the fastest engine: the speed in which all work of the device is expressed."""
        return self.mains[0].peak(self.precision)


def device_of(profile: ResourceProfile, precision: EnginePrecision, cpu_macs_per_s: float) -> Device:
    """Return the engines of a profile that describes some.

    Args:
        profile: the profile.
        precision: of the run.
        cpu_macs_per_s: speed of one reference CPU.

    Raises:
        InputError: no engine computes in that precision.
    """
    placed = [_placed(name, engine, profile.cpus * cpu_macs_per_s) for name, engine in profile.engines.items()]
    mains = sorted((one for one in placed if one.peak(precision)), key=lambda one: -one.peak(precision))
    if not mains:
        there = "; ".join(f"{one.name}: {', '.join(name for name in PRECISIONS if one.peak(name))}" for one in placed)
        raise InputError(
            f"profile '{profile.name}' has no engine that computes in {precision} ({there}): add engines.cpus to "
            "it, or choose another --precision"
        )
    others = [one for one in placed if not one.peak(precision)]
    return Device(name=profile.name, mains=mains, others=others, precision=precision)


def _placed(name: EngineName, engine: Engine, cpus_macs_per_s: float) -> PlacedEngine:
    peaks = engine.macs_per_s or dict.fromkeys(FULL, cpus_macs_per_s)
    return PlacedEngine(
        name=name,
        peak_N=np.array([peaks.get(precision, 0.0) for precision in PRECISIONS]),
        bytes_per_s=engine.bytes_per_s,
        launch_s=engine.launch_s,
        step_s=engine.step_s,
        memory_bytes=engine.memory_bytes,
        share_N=np.array([engine.efficiency.get(kind, 1.0) for kind in CLASSES]),
    )


def stalled_macs(operators: Operators, device: Device, main: PlacedEngine, batch_size: int) -> float:
    """Return what a step takes beyond its MACs at the device's base speed, in MACs at that speed, per image.

    That is (seconds * base speed - MACs) / batch size: what the fastest engine could have computed while operators wait
    for memory and launches, or run more slowly. On one engine of infinite bandwidth that launches in no time it is
    exactly 0.

    Args:
        operators: of the step.
        device: that it runs on.
        main: its engine for products.
        batch_size: images in the step.

    Raises:
        InputError: an operator that no engine can run.
    """
    base = device.base_macs_per_s
    macs_O, bytes_O = operators.step_macs_O(batch_size), operators.moved_bytes_O(batch_size)
    stalled_O = np.zeros(len(macs_O))
    for engine, here_O in _dealt(operators, device, main):
        peak_O = engine.peak_N[operators.precision_O[here_O]]
        share_O = engine.share_N[operators.kind_O[here_O]]
        waits_O = bytes_O[here_O] * (base / engine.bytes_per_s)
        needed_O = np.maximum(macs_O[here_O] * (base / peak_O), waits_O) / share_O
        as_counted_O = (peak_O == base) & (share_O == 1)
        # The same figure without a difference of large numbers: nothing is left where nothing waits.
        beyond_O = np.where(as_counted_O, np.maximum(waits_O - macs_O[here_O], 0.0), needed_O - macs_O[here_O])
        stalled_O[here_O] = beyond_O + operators.launches_O[here_O] * (engine.launch_s * base)
    return (float(stalled_O.sum()) + operators.steps * main.step_s * base) / batch_size


def step_s(operators: Operators, device: Device, main: PlacedEngine, batch_size: int) -> float:
    """Return the seconds of a step; the arguments and errors are those of `stalled_macs`."""
    macs = float(operators.step_macs_O(batch_size).sum())
    return (macs + batch_size * stalled_macs(operators, device, main, batch_size)) / device.base_macs_per_s


def _dealt(
    operators: Operators, device: Device, main: PlacedEngine
) -> list[tuple[PlacedEngine, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """Return which operators run where: on the main engine, or on the fastest other one that has their precision."""
    left_O = np.ones(len(operators.kind_O), dtype=np.bool_)
    dealt = []
    for place in np.unique(operators.precision_O).tolist():
        able = [one for one in (*device.mains, *device.others) if one is not main and one.peak_N[place]]
        engine = main if main.peak_N[place] else max(able, key=lambda one: one.peak_N[place], default=None)
        if engine is None:
            raise InputError(
                f"profile '{device.name}' has no engine for the operators that a run in {device.precision} computes in "
                f"{PRECISIONS[place]}: add that precision to one of its engines, or add engines.cpus"
            )
        here_O = left_O & (operators.precision_O == place)
        dealt.append((engine, here_O))
    return dealt
