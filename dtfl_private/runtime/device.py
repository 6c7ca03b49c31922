"""The choice of device, memory format and workers from what the host offers."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import torch

from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import DeviceName, MemoryFormat, Numerics, Precision
from dtfl_private.runtime.executor_choice import parse_executor

log = logging.getLogger(__name__)


def choose_device(name: DeviceName) -> str:
    """Return the device to use; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: the named device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, found in there.items() if found)
    if not there[name]:
        raise InputError(f"device '{name}' is not available here: use --device auto or --device cpu")
    return name


def device_on(executor: str, device: DeviceName) -> DeviceName:
    """Return the device to ask for, as the executor's actors have a share of a GPU or none.

    Raises:
        InputError: they have none, and another device than the CPU is asked for; or the other way round.
    """
    choice = parse_executor(executor)
    if choice is None:
        return device
    wanted: DeviceName = "cuda" if choice.gpus else "cpu"
    if device not in ("auto", wanted):
        hint = f"--device {wanted}" if choice.gpus else "--executor ray:gpus=SHARE"
        raise InputError(f"device '{device}' does not go with executor {executor}, which computes on {wanted}: {hint}")
    if choice.gpus and not torch.cuda.is_available():
        raise InputError(
            f"executor {executor} asks for GPUs, and this machine, which tries a first batch, has none: leave gpus "
            "out, or start the run from a node that has one"
        )
    return wanted


def device_or_cpu(name: DeviceName) -> DeviceName:
    """Return the device that a run was trained on if it is here, otherwise the CPU, where it can be opened too."""
    try:
        choose_device(name)
    except InputError:
        return "cpu"
    return name


def choose_numerics(
    device: DeviceName,
    precision: Precision,
    memory_format: Literal["auto", "channels-last", "contiguous"],
    norm: Norm,
) -> Numerics:
    """Return the numerics of a run; "auto" takes the memory format that is faster.

    channels_last is, except for group norm under bf16, which has no fast channels_last kernel
    (``python -m benchmarks.throughput`` measures it).
    """
    found = choose_device(device)
    if precision == "fp64" and found == "mps":
        raise InputError("precision 'fp64' is not available on device 'mps': use fp32, or --device cpu")
    slow = norm == "group" and precision == "bf16"
    log.debug("computing on %s in %s", found, precision)
    automatic: MemoryFormat = "contiguous" if slow or precision == "fp64" else "channels-last"
    return Numerics(
        device=found,
        precision=precision,
        memory_format=automatic if memory_format == "auto" else memory_format,
    )


def choose_workers(workers: int | None, device: str, participants: int) -> int:
    """Return the number of worker processes, at most one per participant; None is one per available core."""
    if device != "cpu":
        if workers is not None and workers > 1:
            raise InputError(f"workers {workers} is for --device cpu: on '{device}' one process uses the device")
        return 1
    return max(1, min(available_cores() if workers is None else workers, participants))


def processor_name() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = reading.read_text(Path("/proc/cpuinfo"), most_bytes=2**24).splitlines()
    except (OSError, ValueError):
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Let cuDNN use its deterministic algorithms only, inside the block; elsewhere than on CUDA nothing changes."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextmanager
def no_denormals() -> Iterator[None]:
    """Take numbers below the smallest normal one (1e-38 in float32) for zero inside the block, in this thread.

    Processors are up to a hundred times slower with them, so that for weights that make them of some images alone, how
    long a batch takes tells of the images. Where the processor has no such mode nothing changes.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on this many CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[None]:
    """Return the context of computing on one CPU thread.

    Every worker does, in-process or not: sums split over threads round differently, and a run must not depend on the
    number of cores. Two one-thread workers also beat one two-thread process.
    """
    return threads(1)
