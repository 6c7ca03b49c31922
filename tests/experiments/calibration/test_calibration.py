"""Calibration of this host: what is written can be read, what is fitted follows from what was measured."""

import pytest
from torch import nn

from dtfl_private.experiments.calibration import fitting
from dtfl_private.experiments.calibration.checking import CheckedStep, built_in_networks, measured_steps, median_error
from dtfl_private.experiments.calibration.fitting import EngineFit
from dtfl_private.experiments.calibration.synthetic_layers import SyntheticLayer, synthetic_layers
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.clients.engines import Engine
from dtfl_private.simulation.costs.operators import CLASSES


@pytest.fixture
def quick(monkeypatch):
    """Measure next to nothing: one small layer of each of two classes, once."""
    few = {
        "linear": [SyntheticLayer(layer=nn.Linear(8, 8), shape=(4, 6, 8))],
        "elementwise": [SyntheticLayer(layer=nn.ReLU(), shape=(4, 6, 8))],
    }
    monkeypatch.setattr(fitting, "synthetic_layers", lambda: few)
    monkeypatch.setattr(fitting, "SIDES", {"cpu": (16, 32)})
    monkeypatch.setattr(fitting, "COPIED_BYTES", {"cpu": 2**16})
    monkeypatch.setattr(fitting, "REPEATS", 1)


def engine_by_one_pass(numerics: Numerics) -> Engine:
    """Return the figures of one pass."""
    fit = EngineFit(numerics)
    fit.measure()
    return fit.engine()


def test_there_are_synthetic_layers_of_every_class_but_the_optimiser():
    assert {*synthetic_layers(), "optimizer"} == {*CLASSES}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_an_engine_has_peaks_of_its_precisions_and_finite_figures(precision):
    engine = engine_by_one_pass(Numerics(precision=precision))
    assert engine.macs_per_s is not None
    assert engine.macs_per_s.keys() == {"fp32", "bf16", precision}
    assert engine.launch_s + engine.step_s > 0
    assert 1e3 < engine.bytes_per_s < 1e13
    assert engine.memory_bytes > 1e8
    assert engine.efficiency.keys() == {"linear", "elementwise", "optimizer"}


@pytest.mark.usefixtures("quick")
def test_figures_follow_from_the_measured_seconds(monkeypatch):
    """Every product, copy, layer and step of Adam takes 10 ms, a launch 4 us and each step 20 us besides."""
    monkeypatch.setattr(fitting, "median_s", lambda *_: 0.01)
    monkeypatch.setattr(fitting._TinyNetwork, "taken_s", lambda tiny: 4e-6 * tiny.launches + 2e-5)
    engine = engine_by_one_pass(Numerics())
    assert (engine.launch_s, engine.step_s) == (4e-6, 2e-5)
    assert engine.macs_per_s == {"fp32": 3.277e6, "bf16": 3.277e6}  # 32 x 32 x 32 in 10 ms, in four digits
    assert engine.bytes_per_s == pytest.approx(2 * 2**16 / 0.01, rel=1e-3)
    moved = sum(7 * tensors * size * 4 for tensors, size in fitting.ADAM_STEPS) / engine.bytes_per_s
    tensors = sum(tensors for tensors, _ in fitting.ADAM_STEPS)
    assert engine.efficiency["optimizer"] == pytest.approx(moved / (0.02 - tensors * engine.launch_s), rel=1e-3)
    # ReLU: 768 bytes in and 768 out; backward, result and gradient in, gradient out.
    relu_s = 5 * 768 / engine.bytes_per_s
    assert engine.efficiency["elementwise"] == pytest.approx(relu_s / (0.01 - 2 * engine.launch_s), rel=1e-3)


def test_neither_launches_nor_steps_take_less_than_no_time_and_errors_count_relatively():
    # More launches in less time: launches then take none, and all is explained by what each step takes.
    assert fitting.launch_and_step_s([10, 100], [2e-4, 1e-4])[0] == 0
    # Two steps of the same operators, one twice as long: least squares of p / 1e-4 - 1 and p / 2e-4 - 1.
    launch_s, step_s = fitting.launch_and_step_s([10, 10], [1e-4, 2e-4])
    assert 10 * launch_s + step_s == pytest.approx(1.2e-4)


def test_tiny_networks_are_of_different_depths():
    launches = [fitting._tiny(one, Numerics()).launches for one in fitting.tiny_networks()]
    assert max(launches) > 8 * min(launches)  # else what launches take could not be told from what each step takes


def test_steps_of_every_tier_are_predicted_and_measured():
    engine = Engine(macs_per_s={"fp32": 1e9}, launch_s=1e-5)
    arguments = {"input_shape": (1, 8, 8), "classes": 10, "norm": "batch", "batch_size": 2, "repeats": 1}
    measured = measured_steps("resnet-8", Numerics(), **arguments)
    steps = [step.checked(engine, "gpu", Numerics(), 2) for step in measured]
    assert {step.engine for step in steps} == {"gpu"}
    assert [step.tier for step in steps] == [1, 2, 3, 4, 5]
    assert all(step.measured_s > 0 for step in steps)
    assert sorted(step.predicted_s for step in steps) == [step.predicted_s for step in steps]
    assert all(step.predicted_s > step.by_macs_s > 0 for step in steps)


def test_the_error_is_relative_to_what_was_measured():
    steps = [
        CheckedStep(model="m", tier=1, predicted_s=predicted, by_macs_s=1.0, measured_s=2.0)
        for predicted in (1.0, 3.5, 2.2)
    ]
    assert [step.error for step in steps] == pytest.approx([0.5, 0.75, 0.1])
    assert median_error(steps) == 0.5


def test_large_networks_are_not_measured():
    assert "bert-large" in built_in_networks()
    arguments = {"input_shape": (8,), "classes": 10, "norm": "batch", "batch_size": 2, "repeats": 1}
    assert measured_steps("bert-large:cuts=1", Numerics(), **arguments) == []
