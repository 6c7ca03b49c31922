import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dtfl_private.data.partition import MAX_ALPHA, Dirichlet, Iid, deal_out
from dtfl_private.errors import InputError

TEN_CLASSES = np.arange(2000) % 10


@st.composite
def federations(draw) -> tuple[np.ndarray, int, int]:
    labels = np.array(draw(st.lists(st.integers(0, 4), min_size=1, max_size=60)), dtype=np.int64)
    return labels, draw(st.integers(1, len(labels))), draw(st.integers(0, 2**32))


def assert_is_partition(parts: list[np.ndarray], images: int, clients: int) -> None:
    assert len(parts) == clients
    assert all(part.dtype == np.int64 for part in parts)
    assert all(len(part) > 0 for part in parts)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(images))


@given(federations())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_iid_loses_nothing_and_sizes_differ_by_one_at_most(federation):
    labels, clients, seed = federation
    parts = deal_out("iid", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(federations(), st.floats(1e-3, 1e3), st.integers(1, 5))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_dirichlet_loses_nothing_and_leaves_nobody_below_the_floor(federation, alpha, floor):
    labels, clients, seed = federation
    parts = deal_out(f"dirichlet:{alpha},floor={floor}", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    assert min(len(part) for part in parts) >= min(floor, len(labels) // clients)


@pytest.mark.parametrize("text", ["iid", "dirichlet"])
def test_a_deal_depends_on_the_random_stream_alone(text):
    deals = [deal_out(text, TEN_CLASSES, 7, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(np.array_equal(first, second) for first, second in zip(deals[0], deals[1], strict=True))
    assert not all(np.array_equal(first, second) for first, second in zip(deals[0], deals[2], strict=True))


@pytest.mark.parametrize("text", ["iid", "dirichlet:1e8"])
def test_who_gets_which_image_of_a_class_is_random(text):
    # The mean of 200 numbers drawn from 0..1999 has a deviation of 41: 6 of them, beyond that by 2e-9 a client.
    parts = deal_out(text, TEN_CLASSES, 10, np.random.default_rng(0))
    assert all(abs(part.mean() - 1000) < 6 * 41 for part in parts)


def class_shares(parts: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Return the part of each class (column) that each client (row) holds."""
    counts = np.array([np.bincount(labels[part], minlength=labels.max() + 1) for part in parts])
    return counts / counts.sum(axis=0)


@pytest.mark.parametrize("alpha", [1e8, MAX_ALPHA])
def test_a_huge_alpha_deals_every_class_out_evenly(alpha):
    # 200 images of a class to 10 clients: 20 each, up to one by rounding.
    shares = class_shares(Dirichlet(alpha).deal(TEN_CLASSES, 10, np.random.default_rng(0)), TEN_CLASSES)
    assert np.abs(shares * 200 - 20).max() <= 1


def test_a_smaller_alpha_is_more_skewed():
    # With the seed fixed this is a statement about five deals. The largest share of a class among 10 clients.
    largest = [
        class_shares(Dirichlet(alpha).deal(TEN_CLASSES, 10, np.random.default_rng(0)), TEN_CLASSES).max(axis=0).mean()
        for alpha in (0.01, 0.1, 1.0, 10.0, 100.0)
    ]
    assert largest == sorted(largest, reverse=True)
    assert largest[0] > 0.9
    assert largest[-1] < 0.15


@pytest.fixture(scope="module")
def shares_at_alpha_2() -> np.ndarray:
    """Return what the first of four clients gets of each of 4,000 classes, for alpha = 2."""
    rng, members = np.random.default_rng(0), 100
    labels = np.repeat(np.arange(100), members)
    shares = np.concatenate([class_shares(Dirichlet(2.0).deal(labels, 4, rng), labels)[0] for _ in range(40)])
    # A class has 100 images: spread the rounded shares evenly over what is rounded to them.
    return shares + rng.uniform(-0.5, 0.5, shares.shape) / members


def share_p_value(shares: np.ndarray, alpha: float) -> float:
    """Return the Kolmogorov-Smirnov p-value for Beta(alpha, 3 alpha): one of four shares of a Dirichlet draw."""
    return stats.kstest(shares, stats.beta(alpha, 3 * alpha).cdf).pvalue


def test_shares_of_a_class_are_a_dirichlet_draw(shares_at_alpha_2):
    # With a fresh seed a false alarm has probability 1e-6.
    assert share_p_value(shares_at_alpha_2, 2.0) > 1e-6


@pytest.mark.parametrize("wrong", [0.5, 1.0, 1.5, 3.0])
def test_shares_of_another_alpha_would_be_told_apart(shares_at_alpha_2, wrong):
    assert share_p_value(shares_at_alpha_2, wrong) < 1e-6


def test_missing_images_come_from_the_largest_client():
    # One class of 40 images and alpha near zero: one client draws all, and gives each of the others two.
    parts = Dirichlet(1e-9, floor=2).deal(np.zeros(40, dtype=np.int64), 4, np.random.default_rng(0))
    assert sorted(len(part) for part in parts) == [2, 2, 2, 34]


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5"])
def test_more_clients_than_images_are_refused(text):
    with pytest.raises(InputError, match="clients 4 is more than the 3 training images"):
        deal_out(text, np.zeros(3, dtype=np.int64), 4, np.random.default_rng(0))
    assert_is_partition(deal_out(text, np.zeros(3, dtype=np.int64), 3, np.random.default_rng(0)), 3, 3)


@pytest.mark.parametrize("setting", ["0", "-1", "inf", "nan", "1e101", "0.5,floor=0", "much"])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(InputError, match=r"partition 'dirichlet': .* is refused"):
        deal_out(f"dirichlet:{setting}", TEN_CLASSES, 3, np.random.default_rng(0))


def losing(parts):
    return [parts[0][1:], *parts[1:]]


def repeating(parts):
    return [np.append(parts[0], parts[1][0]), *parts[1:]]


def swapping(parts):
    return [np.append(parts[0][1:], parts[1][0]), *parts[1:]]


def starving(parts):
    return [np.concatenate(parts[:2]), parts[0][:0], *parts[2:]]


def uniting(parts):
    return [np.concatenate(parts[:2]), *parts[2:]]


def withholding(parts):
    return parts[:0]


@pytest.mark.parametrize("fault", [losing, repeating, swapping, starving, uniting, withholding])
def test_a_plugin_that_does_not_partition_is_refused(offer, fault):
    class Faulty:
        def deal(self, labels, clients, rng):
            return fault(Iid().deal(labels, clients, rng))

    offer("partition", "faulty", Faulty)
    message = "partition 'faulty' lost or repeated images, or left a client without any"
    with pytest.raises(InputError, match=re.escape(message)):
        deal_out("faulty", TEN_CLASSES, 3, np.random.default_rng(0))
