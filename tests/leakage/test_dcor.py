"""The oracle is the dcor package, an independent implementation by statisticians."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.leakage.dcor import (
    bias_corrected_squared,
    distance_correlation,
    distances,
    u_centred,
)
from dtfl_private.runtime.device import one_thread

TOLERANCE = 1e-6


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def dependent(count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return samples of which one depends on the other, not linearly."""
    first = normal(count, 3, 4, 4, dtype=dtype)
    return first, first[:, :2].square() + 0.3 * normal(count, 2, 4, 4, seed=1, dtype=dtype)


@pytest.fixture(scope="module")
def dcor():
    """The package, in this file alone: when it is imported it would compile itself for half a minute, which few use.

    Its compiler raises the number of threads that torch computes on, which the tests that follow must not do.
    """
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        # The one thing that this setting does not reach: it would be compiled, from functions that no longer are.
        patch.setattr("numba.guvectorize", lambda *_, **__: lambda function: function)
        import dcor

        yield dcor


def flat(sample: Tensor) -> np.ndarray:
    return sample.flatten(1).double().numpy()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("count", [4, 7, 60])
def test_both_statistics_equal_those_of_dcor(dcor, count, dtype):
    first, second = dependent(count, dtype)
    plain = float(distance_correlation(first, second))
    assert abs(plain - dcor.distance_correlation(flat(first), flat(second))) < TOLERANCE
    corrected = bias_corrected_squared(first, second)
    assert abs(corrected - dcor.u_distance_correlation_sqr(flat(first), flat(second))) < TOLERANCE


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 1000))
def test_the_plain_statistic_is_dcors_for_any_small_sample_with_duplicates(dcor, count, width, seed):
    # Few different values: duplicates, ties and constant columns.
    first = normal(count, width, seed=seed).round()
    second = normal(count, 2, seed=seed + 1).round()
    expected = dcor.distance_correlation(first.numpy(), second.numpy())
    assert abs(float(distance_correlation(first, second)) - expected) < TOLERANCE


def test_squared_distances_would_be_noticed(dcor):
    first, second = dependent(60, torch.float64)
    expected = dcor.distance_correlation(flat(first), flat(second))
    assert abs(dcor.distance_correlation(flat(first), flat(second), exponent=1.9) - expected) > 100 * TOLERANCE


def test_its_gradient_is_the_derivative():
    first, second = dependent(7, torch.float64)
    assert torch.autograd.gradcheck(distance_correlation, (first.requires_grad_(), second.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["constant", "duplicates", "zero", "far"])
def test_value_and_gradient_are_finite_where_the_derivative_of_a_root_is_not(kind, count, dtype):
    second = {
        "constant": torch.full((count, 5), 0.1),
        "zero": torch.zeros(count, 5),
        "duplicates": normal(2, 5)[torch.arange(count) % 2],
        "far": normal(2, 5)[torch.arange(count) % 2] + 1e4,
    }[kind]
    second = second.to(dtype).requires_grad_()
    value = distance_correlation(normal(count, 7, dtype=dtype), second)
    (gradient,) = torch.autograd.grad(value, second)
    assert 0 <= value <= 1 + 1e-6
    assert gradient.isfinite().all()
    assert kind not in ("constant", "zero") or value == 0


def test_distances_far_from_the_origin_are_right_in_float32():
    rows = normal(20, 50, dtype=torch.float32)
    far = rows + 1000
    exact = torch.cdist(far.double(), far.double())
    # The rows themselves are rounded to 6e-5 there.
    assert torch.allclose(distances(far).double(), exact, atol=1e-3)


def test_autocast_does_not_make_it_coarse():
    first, second = dependent(20, torch.float32)
    plain = distance_correlation(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distance_correlation(first, second), plain)


def test_tokens_are_as_far_apart_as_their_one_hot_codes(dcor):
    tokens = torch.randint(5, (9, 6), generator=torch.Generator().manual_seed(0))
    codes = torch.nn.functional.one_hot(tokens, 5).double()
    assert torch.allclose(distances(tokens).double(), torch.cdist(codes.flatten(1), codes.flatten(1)))
    second = normal(9, 4)
    expected = dcor.distance_correlation(flat(codes), flat(second))
    assert abs(float(distance_correlation(tokens, second)) - expected) < TOLERANCE


def test_independent_samples_of_high_dimension_look_dependent_only_to_the_plain_statistic():
    first, second = normal(100, 3072), normal(100, 4096, seed=1)
    assert float(distance_correlation(first, second)) > 0.99
    assert abs(bias_corrected_squared(first, second)) < 0.01


def test_a_sample_depends_wholly_on_itself_and_not_on_a_constant():
    first = normal(10, 4)
    assert float(distance_correlation(first, 3 * first + 1)) == pytest.approx(1)
    assert bias_corrected_squared(first, 3 * first + 1) == pytest.approx(1)
    assert bias_corrected_squared(first, torch.ones(10, 4)) == 0


def test_three_records_have_no_corrected_statistic():
    with pytest.raises(ValueError, match="3 records are too few"):
        bias_corrected_squared(normal(3, 2), normal(3, 2))


def test_the_statistic_of_permuted_pairs_comes_from_the_same_distances():
    first, second = dependent(12, torch.float64)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    a, b = u_centred(first), u_centred(second)
    cheap = (a * b[order][:, order]).sum() / ((a * a).sum() * (b * b).sum()).sqrt()
    assert float(cheap) == pytest.approx(bias_corrected_squared(first, second[order]))
