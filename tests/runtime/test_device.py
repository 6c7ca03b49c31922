import os

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.runtime.device import (
    choose_device,
    choose_numerics,
    choose_workers,
    deterministic_kernels,
    one_thread,
)


@pytest.fixture
def host(monkeypatch):
    """Pretend that accelerators are there: ``host(cuda=True, mps=False)``."""

    def has(*, cuda: bool = False, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_auto_takes_cuda_before_mps_before_the_cpu(host):
    for cuda, mps, device in ((True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        host(cuda=cuda, mps=mps)
        assert choose_device("auto") == device


def test_a_named_device_is_taken_when_there_and_refused_when_not(host):
    host(cuda=True)
    assert choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match="device 'mps' is not available here: use --device auto or --device cpu"):
        choose_device("mps")


@pytest.mark.parametrize(
    ("norm", "precision", "layout"),
    [
        ("batch", "fp32", "channels-last"),
        ("batch", "bf16", "channels-last"),
        ("group", "fp32", "channels-last"),
        ("group", "bf16", "contiguous"),
        ("batch", "fp64", "contiguous"),
    ],
)
def test_the_memory_format_is_chosen_unless_it_is_named(norm, precision, layout):
    assert choose_numerics("cpu", precision, "auto", norm).memory_format == layout
    for named in ("contiguous", "channels-last"):
        assert choose_numerics("cpu", precision, named, norm).memory_format == named
    assert choose_numerics("cpu", precision, "auto", norm).precision == precision


def test_float64_is_refused_on_mps(host):
    host(mps=True)
    assert choose_numerics("auto", "fp32", "auto", "batch").device == "mps"
    with pytest.raises(InputError, match="'fp64' is not available on device 'mps'"):
        choose_numerics("auto", "fp64", "auto", "batch")


def test_workers_are_one_per_core_and_at_most_one_per_participant(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert choose_workers(None, "cpu", participants=10) == 6
    assert choose_workers(None, "cpu", participants=3) == 3
    assert choose_workers(12, "cpu", participants=20) == 12
    assert choose_workers(1000, "cpu", participants=3) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert choose_workers(None, "cpu", participants=10) == 1


def test_an_accelerator_is_for_one_process():
    assert choose_workers(None, "cuda", participants=10) == 1
    assert choose_workers(1, "cuda", participants=10) == 1
    with pytest.raises(InputError, match="workers 2 is for --device cpu"):
        choose_workers(2, "cuda", participants=10)


def fail_on_one_thread() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError


def test_one_thread_computes_and_the_old_number_comes_back_also_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            fail_on_one_thread()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def fail_on_deterministic_kernels() -> None:
    with deterministic_kernels():
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        raise ZeroDivisionError


def test_deterministic_kernels_are_asked_for_inside_only(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    with pytest.raises(ZeroDivisionError):
        fail_on_deterministic_kernels()
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
