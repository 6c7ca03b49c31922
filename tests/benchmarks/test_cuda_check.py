"""The checks of a GPU, run on the CPU."""

import pytest
import torch

from benchmarks import cuda_check
from benchmarks.cuda_check import distance, near

SMALL = ["--device", "cpu", "--images", "40", "--methods", "fedavg"]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        cuda_check.main.main(args=list(arguments))
    return end.value.code


def test_trainings_on_the_device_are_compared_with_the_cpu(capsys):
    assert run(*SMALL, "--only", "train fedavg,resume,model on") == 0
    lines = capsys.readouterr().out.splitlines()
    for check in ("train fedavg in fp32: passed", "train fedavg in bf16: passed", "resume: passed: distance 0.0000"):
        assert [line for line in lines if line.startswith(check)]
    assert [line for line in lines if line.startswith("model on the CPU: passed: accuracy")]


def test_runs_whose_messages_are_rounded_or_defended_go_through(capsys):
    assert run(*SMALL, "--only", "wire,gaussian") == 0
    lines = capsys.readouterr().out.splitlines()
    for check in ("gaussian-noise:sd=0.1", "dtfl-shared:merge=2 with wire int4", "dtfl with wire scheduled"):
        assert [line for line in lines if check in line and ": passed: accuracy" in line]


def test_an_attack_is_mounted_and_said(capsys):
    assert run(*SMALL, "--methods", "dtfl", "--attacks", "optimization:steps=5", "--only", "attack") == 0
    assert "attack by optimization: passed: " in capsys.readouterr().out


def test_checks_that_do_not_exist_are_no_success(capsys):
    assert run(*SMALL, "--only", "nothing") == 2
    assert "--only nothing: none of train fedavg in fp32, " in " ".join(capsys.readouterr().err.split())


def test_a_device_that_computes_something_else_fails(capsys, monkeypatch):
    config = cuda_check.Checks.config

    def other_seed_on_the_device(checks, method, precision, device, **more):
        return config(checks, method, precision, device, **more, seed=int(precision == "bf16"))

    monkeypatch.setattr(cuda_check.Checks, "config", other_seed_on_the_device)
    assert run(*SMALL, "--only", "train fedavg in bf16") == 1
    assert "train fedavg in bf16: FAILED: FailedError: distance" in capsys.readouterr().out


def test_an_error_is_told_by_its_first_line():
    def broken():
        raise RuntimeError("CUDA error: out of memory\nmore")

    assert cuda_check.outcome(broken) == (False, "RuntimeError: CUDA error: out of memory")


def test_a_distance_is_relative_to_what_training_moved():
    before, one, other = ({"w": torch.tensor([value])} for value in (0.0, 2.0, 1.0))
    assert distance(before, one, other) == 0.5
    assert near(0.5, 0.5) == "distance 0.5000 of 0.5"
    for found in (0.6, float("nan")):
        with pytest.raises(cuda_check.FailedError):
            near(found, 0.5)


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run() == 2
    assert capsys.readouterr().err.startswith("error: device 'cuda' is not available here")
