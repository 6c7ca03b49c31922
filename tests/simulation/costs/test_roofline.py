"""Times of operators on engines: closed forms by hand, and what must hold whatever the figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.simulation.clients.engines import Engine
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.costs.operators import CLASSES, PRECISIONS, Operators, joined
from dtfl_private.simulation.costs.roofline import device_of, stalled_macs, step_s

REFERENCE = 1e9


def operators(*rows: tuple[str, str, float, float, float]) -> Operators:
    """Return operators of (class, precision, MACs per image, bytes per image, bytes per step)."""
    kinds, precisions, macs, image_bytes, step_bytes = zip(*rows, strict=True)
    return Operators(
        kind_O=np.array([CLASSES.index(kind) for kind in kinds]),
        precision_O=np.array([PRECISIONS.index(precision) for precision in precisions]),
        image_macs_O=np.array(macs, dtype=np.float64),
        image_bytes_O=np.array(image_bytes, dtype=np.float64),
        step_bytes_O=np.array(step_bytes, dtype=np.float64),
        launches_O=np.ones(len(rows)),
    )


def device(**engines: Engine) -> ResourceProfile:
    """Return a device of two reference CPUs with these engines."""
    return ResourceProfile(name="device", cpus=2, up_mbit_s=1, down_mbit_s=1, engines=engines)


TWO = operators(("conv", "fp32", 1000, 40, 400), ("elementwise", "fp32", 0, 80, 0))


def seconds(given_profile: ResourceProfile, work: Operators, batch: int = 10, precision: str = "fp32") -> float:
    placed = device_of(given_profile, precision, REFERENCE)
    return step_s(work, placed, placed.mains[0], batch)


def test_each_operator_takes_the_longer_of_arithmetic_and_memory_and_its_launch():
    # A step of 10: the product has 10,000 MACs and 800 bytes, the other operator 800 bytes.
    fast_memory = device(cpus=Engine(macs_per_s={"fp32": 1e6}, bytes_per_s=1e6, launch_s=0.25))
    assert seconds(fast_memory, TWO) == pytest.approx(10_000 / 1e6 + 800 / 1e6 + 2 * 0.25, rel=1e-12)
    slow_memory = device(cpus=Engine(macs_per_s={"fp32": 1e6}, bytes_per_s=1e4, launch_s=0.25))
    assert seconds(slow_memory, TWO) == pytest.approx(800 / 1e4 + 800 / 1e4 + 2 * 0.25, rel=1e-12)


def test_shares_divide_the_time_of_their_class_and_not_its_launch():
    shares = {"conv": 0.5, "elementwise": 4.0}
    engine = Engine(macs_per_s={"fp32": 1e6}, bytes_per_s=1e6, launch_s=0.25, efficiency=shares)
    assert seconds(device(cpus=engine), TWO) == pytest.approx(2 * 0.01 + 0.0008 / 4 + 0.5, rel=1e-12)


def test_a_step_takes_what_the_engine_says_besides_its_operators_and_what_is_no_step_does_not():
    engine = Engine(macs_per_s={"fp32": 1e6}, bytes_per_s=1e6, launch_s=0.25, step_s=3.0)
    step = replace(TWO, steps=1.0)
    assert seconds(device(cpus=engine), step) == pytest.approx(0.01 + 0.0008 + 2 * 0.25 + 3, rel=1e-12)
    assert seconds(device(cpus=engine), TWO) == pytest.approx(0.01 + 0.0008 + 2 * 0.25, rel=1e-12)
    assert joined([step, TWO, step]).steps == 2


def test_cpus_without_a_peak_compute_at_the_speed_of_their_profile():
    assert seconds(device(cpus=Engine()), TWO) == 10_000 / (2 * REFERENCE)


def test_one_engine_that_waits_for_nothing_leaves_exactly_nothing_beyond_the_macs():
    for engine in (Engine(), Engine(macs_per_s={"fp32": 123456789.0, "bf16": 3e9})):
        placed = device_of(device(cpus=engine), "fp32", 13.7e9)
        assert stalled_macs(TWO, placed, placed.mains[0], 7) == 0.0


def test_products_run_on_the_fastest_engine_of_the_precision_and_the_rest_where_it_can():
    """In bf16 an accelerator without single precision leaves the operators that stay in it to the cpus."""
    npu = Engine(macs_per_s={"bf16": 1e7}, launch_s=0.5)
    cpus = Engine(macs_per_s={"fp32": 1e6, "bf16": 1e5}, bytes_per_s=1e4)
    work = operators(("conv", "bf16", 1000, 40, 0), ("normalisation", "fp32", 0, 80, 0))
    taken = seconds(device(cpus=cpus, npu=npu), work, precision="bf16")
    assert taken == pytest.approx(10_000 / 1e7 + 0.5 + 800 / 1e4, rel=1e-12)


def test_an_engine_without_the_precision_of_the_run_is_of_no_use():
    npu, cpus = Engine(macs_per_s={"int8": 1e12}), Engine(macs_per_s={"fp32": 1e6})
    with_npu = device(cpus=cpus, npu=npu)
    alone = device(cpus=cpus)
    assert seconds(with_npu, TWO) == seconds(alone, TWO)


def test_a_precision_that_no_engine_has_is_refused_in_one_line():
    npu = device(npu=Engine(macs_per_s={"bf16": 1e12, "int8": 1e12}))
    with pytest.raises(InputError, match=r"'device' has no engine that computes in fp32 \(npu: bf16, int8\)"):
        device_of(npu, "fp32", REFERENCE)
    work = operators(("conv", "bf16", 1000, 40, 0), ("normalisation", "fp32", 0, 80, 0))
    with pytest.raises(InputError, match="no engine for the operators that a run in bf16 computes in fp32") as refused:
        seconds(npu, work, precision="bf16")
    assert "\n" not in str(refused.value)


rate = st.floats(1e3, 1e15)


@given(
    peak=rate,
    bytes_per_s=rate,
    faster=st.floats(1, 1e6),
    launch_s=st.floats(0, 1),
    macs=st.floats(0, 1e12),
    moved=st.floats(0, 1e12),
    batch=st.integers(1, 512),
)
def test_more_peak_bandwidth_or_a_shorter_launch_never_makes_a_step_slower(
    peak, bytes_per_s, faster, launch_s, macs, moved, batch
):
    work = operators(("conv", "fp32", macs, moved, moved), ("elementwise", "fp32", 0, moved, 0))

    def taken(**values: object) -> float:
        engine = Engine(**{"macs_per_s": {"fp32": peak}, "bytes_per_s": bytes_per_s, "launch_s": launch_s, **values})
        return seconds(device(cpus=engine), work, batch)

    before = taken()
    least = 1 - 1e-9  # rounding
    assert taken(bytes_per_s=bytes_per_s * faster) * least <= before
    assert taken(macs_per_s={"fp32": min(peak * faster, 1e18)}) * least <= before
    assert taken(launch_s=launch_s / faster) * least <= before
    assert before >= batch * macs / peak * least
    assert before >= 2 * launch_s * least
