from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from dtfl_private.training.aggregate import WeightedAverage

WEIGHTS = (7, 1, 120, 33)


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "conv.weight": torch.randn(4, 3, 2, 2, generator=generator, dtype=dtype),
        "fc.bias": torch.randn(5, generator=generator, dtype=dtype),
        "norm.num_batches_tracked": torch.randint(0, 1000, (), generator=generator),
    }


def average(states: list[dict[str, Tensor]], weights: tuple[int, ...] = WEIGHTS) -> dict[str, Tensor]:
    total = WeightedAverage()
    for one, weight in zip(states, weights, strict=True):
        total.add(one, weight)
    return dict(total.result(states[0]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float64, 1e-12)])
def test_averaging_equal_updates_is_the_identity(dtype: torch.dtype, tolerance: float):
    same = state(1, dtype)
    result = average([same] * 4)
    assert result.keys() == same.keys()
    for name, tensor in same.items():
        torch.testing.assert_close(result[name], tensor, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float64, 1e-12)])
def test_order_of_clients_does_not_matter(dtype: torch.dtype, tolerance: float):
    states = [state(seed, dtype) for seed in range(4)]
    expected = average(states)
    for order in permutations(range(4)):
        result = average([states[k] for k in order], tuple(WEIGHTS[k] for k in order))
        for name, tensor in expected.items():
            torch.testing.assert_close(result[name], tensor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-7), (torch.float64, 1e-12)])
def test_average_is_weighted_by_examples(dtype: torch.dtype, tolerance: float):
    states = [state(seed, dtype) for seed in range(4)]
    result = average(states)
    for name in ("conv.weight", "fc.bias"):
        expected = np.average([one[name].double().numpy() for one in states], axis=0, weights=WEIGHTS)
        assert result[name].dtype == dtype
        np.testing.assert_allclose(result[name].double().numpy(), expected, rtol=tolerance, atol=tolerance)
    assert not torch.allclose(result["fc.bias"], torch.stack([one["fc.bias"] for one in states]).mean(dim=0))


@pytest.mark.parametrize(("weights", "mean"), [((1, 1, 2), 23), ((1, 1, 1), 20), ((1, 1, 3), 25)])
def test_integer_buffers_are_averaged_and_rounded(weights: tuple[int, ...], mean: int):
    result = average([{"n": torch.tensor(value)} for value in (10, 20, 31)], weights)
    assert result["n"].dtype == torch.int64
    assert result["n"].item() == mean


def test_large_counters_are_not_lost_to_single_precision():
    counters = [{"n": torch.tensor(2**24 + 1)}, {"n": torch.tensor(2**24 + 1)}]
    assert average(counters, (5, 5))["n"].item() == 2**24 + 1


def test_states_with_other_names_are_refused():
    total = WeightedAverage()
    total.add({"a": torch.zeros(1), "b": torch.zeros(1)}, 1)
    with pytest.raises(ValueError, match=r"states differ in \['b', 'c'\]"):
        total.add({"a": torch.zeros(1), "c": torch.zeros(1)}, 1)


def test_with_nothing_added_the_result_is_the_alternative():
    alternative = state(1)
    assert WeightedAverage().result(alternative) is alternative


def test_averaging_leaves_states_alone_and_shares_no_memory():
    first, second = state(1), state(2)
    total = WeightedAverage()
    total.add(first, 3)
    total.add(second, 1)
    once = total.result(first)
    for name, tensor in state(1).items():
        assert torch.equal(first[name], tensor)
    first["fc.bias"].fill_(99.0)
    again = total.result(first)
    assert torch.equal(once["fc.bias"], again["fc.bias"])
    assert again["fc.bias"].data_ptr() != first["fc.bias"].data_ptr()


def test_memory_layout_of_the_states_does_not_matter():
    states = [state(seed) for seed in range(4)]
    last = [{**one, "conv.weight": one["conv.weight"].to(memory_format=torch.channels_last)} for one in states]
    assert torch.equal(average(states)["conv.weight"], average(last)["conv.weight"])
