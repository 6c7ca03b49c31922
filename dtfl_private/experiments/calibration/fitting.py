"""The figures of an engine of this host, fitted on large products, copies, tiny networks and synthetic layers."""

import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.experiments.calibration.clocks import median_s, now_s
from dtfl_private.experiments.calibration.synthetic_layers import SyntheticLayer, synthetic_layers, tiny_networks
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.clients.engines import Engine, EnginePrecision, OperatorClass
from dtfl_private.simulation.costs.measurement import step_s
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.noting import noted_by
from dtfl_private.simulation.costs.tier_work import HeldParts, step_optimizer, tier_work

SIDES = {"cpu": (384, 768), "cuda": (2048, 4096), "mps": (1024, 2048)}
"""Sides of the square matrices whose product says what the peak is."""

COPIED_BYTES = {"cpu": 2**26, "cuda": 2**28, "mps": 2**27}
REPEATS = 5

DTYPES: dict[EnginePrecision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """A synthetic layer, ready to be timed, and what its operators do."""

    kind: OperatorClass
    run: Callable[[], None]
    launches: int
    macs_O: FloatArray
    bytes_O: FloatArray

    def share(self, taken_s: float, peak: float, bytes_per_s: float, launch_s: float) -> float:
        """Return what share of its roofline it reaches, launches (of at most half the time) taken off."""
        roofline_s = float(np.maximum(self.macs_O / peak, self.bytes_O / bytes_per_s).sum())
        return roofline_s / max(taken_s - self.launches * launch_s, taken_s / 2)


@dataclass(frozen=True, kw_only=True)
class _TinyNetwork:
    """A tiny network, what its training step by Adam runs, loss included, and what measures that step."""

    measure: Callable[[], float]
    launches: float

    def taken_s(self) -> float:
        """Return the seconds of its step, measured once more."""
        return self.measure()


class EngineFit:
    """The figures of the device that a run with these numerics computes on, by one thread on a CPU.

    The peaks are those of the fastest products of large matrices, the bandwidth that of large copies. What a launch
    takes, and what each step takes besides, is fitted to the steps of tiny networks of several kinds and depths. Each
    class's share is the median over its synthetic layers of the roofline's time in the measured one, launches taken
    off; the optimiser's is that of all its steps together. Each time is the median over all passes, which may lie far
    apart: a machine that others use is not equally fast all the time.
    """

    def __init__(self, numerics: Numerics) -> None:
        self._numerics = numerics
        device = numerics.device
        dtypes = DTYPES | ({"fp64": torch.float64} if numerics.precision == "fp64" else {})
        self._peaks: dict[EnginePrecision, Callable[[], float]] = {
            name: partial(_peak, device, dtype) for name, dtype in dtypes.items()
        }
        self._probes = [_probe(kind, one, numerics) for kind, layers in synthetic_layers().items() for one in layers]
        self._networks = [_tiny(network, numerics) for network in tiny_networks()]
        self._found: defaultdict[str, list[float]] = defaultdict(list)

    def measure(self) -> None:
        """Measure everything once more."""
        device = self._numerics.device
        for name, peak in self._peaks.items():
            self._found[name].append(peak())
        self._found["bandwidth"].append(_bandwidth(device))
        for place, network in enumerate(self._networks):
            self._found[f"network {place}"].append(network.taken_s())
        for place, probe in enumerate(self._probes):
            self._found[f"probe {place}"].append(median_s(probe.run, device, REPEATS))
        for tensors, size in ADAM_STEPS:
            self._found[f"optimizer {size}"].append(_adam_s(device, tensors, size))

    def engine(self) -> Engine:
        """Return the figures by all passes so far; there must have been one."""
        found = {name: statistics.median(values) for name, values in self._found.items()}
        taken_s = [found[f"network {place}"] for place in range(len(self._networks))]
        launch_s, each_step_s = launch_and_step_s([network.launches for network in self._networks], taken_s)
        shares = _shares(self._probes, found, self._numerics, launch_s)
        return Engine(
            macs_per_s={name: rounded(found[name]) for name in self._peaks},
            bytes_per_s=rounded(found["bandwidth"]),
            launch_s=rounded(launch_s),
            step_s=rounded(each_step_s),
            memory_bytes=_memory_bytes(self._numerics.device),
            efficiency={kind: rounded(share) for kind, share in shares.items()},
        )


def rounded(value: float) -> float:
    """Return a measured figure in the four digits that it may have."""
    return float(f"{value:.4g}")


def _shares(
    probes: list[_Probe], found: Mapping[str, float], numerics: Numerics, launch_s: float
) -> Mapping[OperatorClass, float]:
    """Return the median share of each class, from the seconds that were found."""
    peak, bytes_per_s = found[numerics.precision], found["bandwidth"]
    shares: defaultdict[OperatorClass, list[float]] = defaultdict(list)
    for place, probe in enumerate(probes):
        shares[probe.kind].append(probe.share(found[f"probe {place}"], peak, bytes_per_s, launch_s))
    roofline_s = sum(7 * tensors * size * 4 for tensors, size in ADAM_STEPS) / bytes_per_s
    taken_s = sum(found[f"optimizer {size}"] for _, size in ADAM_STEPS)
    launches_s = sum(tensors for tensors, _ in ADAM_STEPS) * launch_s
    shares["optimizer"].append(roofline_s / max(taken_s - launches_s, taken_s / 2))
    return {kind: min(max(statistics.median(values), 1e-3), 1e3) for kind, values in shares.items()}


def _peak(device: str, dtype: torch.dtype) -> float:
    """Return the multiply-accumulates per second of the fastest of some square products."""
    found = []
    for side in SIDES[device]:
        matrix = torch.ones(side, side, dtype=dtype, device=device)
        found.append(side**3 / median_s(partial(torch.mm, matrix, matrix), device, REPEATS))
    return max(found)


def _bandwidth(device: str) -> float:
    """Return the bytes per second of a copy that no cache holds: read once, written once."""
    count = COPIED_BYTES[device] // 4
    source, target = torch.ones(count, device=device), torch.zeros(count, device=device)
    return 2 * COPIED_BYTES[device] / median_s(lambda: target.copy_(source), device, REPEATS)


def launch_and_step_s(launches: Sequence[float], taken_s: Sequence[float]) -> tuple[float, float]:
    """Return what a launch takes, and what each step takes besides, neither less than nothing.

    They are found by least squares of relative errors over steps with so many launches, which took so long.
    """
    from scipy.optimize import nnls  # scipy takes a while to load

    counted = np.stack([launches, np.ones(len(launches))], axis=1)
    (launch_s, besides_s), _ = nnls(counted / np.array(taken_s)[:, None], np.ones(len(taken_s)))
    return float(launch_s), float(besides_s)


def _tiny(tiny: SyntheticLayer, numerics: Numerics) -> _TinyNetwork:
    model = StagedModel([("all", tiny.layer)])
    network = network_operators(model, tiny.shape[1:], 4, numerics)
    work = tier_work(network, HeldParts(first=1), 1, step_optimizer("adam", 0.0), 2).training
    layer, inputs = tiny.placed(numerics)
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=numerics.device)
    return _TinyNetwork(
        measure=partial(step_s, layer, inputs, labels, numerics, 2 * REPEATS, partial(now_s, numerics.device)),
        launches=float(work.launches_O.sum()),
    )


def _probe(kind: OperatorClass, synthetic: SyntheticLayer, numerics: Numerics) -> _Probe:
    run = _both_passes(*synthetic.placed(numerics), numerics)
    noted = noted_by(run)
    return _Probe(
        kind=kind,
        run=run,
        launches=len(noted),
        macs_O=np.array([one.macs for one in noted], dtype=np.float64),
        bytes_O=np.array([one.moved_bytes for one in noted], dtype=np.float64),
    )


def _both_passes(layer: nn.Module, inputs: Tensor, numerics: Numerics) -> Callable[[], None]:
    """Return what runs a layer forward, and backward to its weights and inputs if anything goes there."""
    given = inputs.clone().requires_grad_()
    with torch.no_grad(), numerics.autocast():
        gradient = torch.ones_like(layer(given))

    def run() -> None:
        with numerics.autocast():
            result = layer(given)
        if result.requires_grad:
            torch.autograd.backward(result, gradient)
        given.grad = None
        for one in layer.parameters():
            one.grad = None

    return run


ADAM_STEPS = ((40, 64 * 64 * 3), (6, 2**20))
"""Numbers of tensors and their sizes, of the steps by which the optimiser's share is found: in caches, and beyond."""


def _adam_s(device: str, tensors: int, size: int) -> float:
    weights = [nn.Parameter(torch.ones(size, device=device)) for _ in range(tensors)]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    adam = EagerAdam(weights, fused=True)
    return median_s(adam.step, device, REPEATS)


def _memory_bytes(device: str) -> float:
    """Return the memory of the device: a CPU's is that of the machine."""
    if device == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
