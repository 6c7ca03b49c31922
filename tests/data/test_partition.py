import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dtfl_private.data.partition import MAX_ALPHA, Dirichlet, Iid, Natural, Quantity, Shards, deal_out
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
@settings(max_examples=50, deadline=None, derandomize=True)
def test_iid_loses_nothing_and_sizes_differ_by_one_at_most(federation):
    labels, clients, seed = federation
    parts = deal_out("iid", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(federations(), st.floats(1e-3, 1e3), st.integers(1, 5))
@settings(max_examples=75, deadline=None, derandomize=True)
def test_dirichlet_loses_nothing_and_leaves_nobody_below_the_floor(federation, alpha, floor):
    labels, clients, seed = federation
    parts = deal_out(f"dirichlet:{alpha},floor={floor}", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    assert min(len(part) for part in parts) >= min(floor, len(labels) // clients)


@pytest.mark.parametrize("text", ["iid", "dirichlet", "quantity", "shards"])
def test_a_deal_depends_on_the_random_stream_alone(text):
    deals = [deal_out(text, TEN_CLASSES, 7, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(np.array_equal(first, second) for first, second in zip(deals[0], deals[1], strict=True))
    assert not all(np.array_equal(first, second) for first, second in zip(deals[0], deals[2], strict=True))


@pytest.mark.parametrize("text", ["iid", "dirichlet:1e8", "quantity:0", "shards:10"])
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


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5", "quantity", "shards:1"])
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
        def deal(self, labels, clients, rng, client_ids=None):
            return fault(Iid().deal(labels, clients, rng))

    offer("partition", "faulty", Faulty)
    message = "partition 'faulty' lost or repeated images, or left a client without any"
    with pytest.raises(InputError, match=re.escape(message)):
        deal_out("faulty", TEN_CLASSES, 3, np.random.default_rng(0))


# Quantity skew.


@given(federations(), st.floats(0, 10), st.integers(1, 5))
@settings(max_examples=75, deadline=None, derandomize=True)
def test_quantity_skew_loses_nothing_and_leaves_nobody_below_the_floor(federation, sigma, floor):
    labels, clients, seed = federation
    parts = deal_out(f"quantity:{sigma},floor={floor}", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    assert min(len(part) for part in parts) >= min(floor, len(labels) // clients)


def log_sizes(sigma: float) -> np.ndarray:
    """Return the logarithms of 2,000 clients' sizes out of two million images, less their mean."""
    labels = np.zeros(2_000_000, dtype=np.int64)
    logs = np.log([len(part) for part in Quantity(sigma).deal(labels, 2000, np.random.default_rng(0))])
    return logs - logs.mean()


def test_sizes_are_log_normal():
    # With a fresh seed a false alarm has probability 1e-6.
    logs = log_sizes(1.0)
    assert stats.kstest(logs, stats.norm(scale=1.0).cdf).pvalue > 1e-6
    # The test would tell another sigma, and another distribution of the same deviation.
    assert stats.kstest(logs, stats.norm(scale=1.3).cdf).pvalue < 1e-6
    assert stats.kstest(logs, stats.uniform(-(3**0.5), 2 * 3**0.5).cdf).pvalue < 1e-6


def test_without_spread_all_sizes_are_alike():
    sizes = [len(part) for part in Quantity(0).deal(TEN_CLASSES, 7, np.random.default_rng(0))]
    assert max(sizes) - min(sizes) <= 1


def test_labels_do_not_depend_on_the_client_under_quantity_skew():
    parts = Quantity(1.0).deal(np.arange(100_000) % 10, 5, np.random.default_rng(0))
    counts = np.array([np.bincount(np.arange(100_000)[part] % 10) for part in parts])
    # With a fresh seed a false alarm has probability 1e-6.
    assert stats.chi2_contingency(counts).pvalue > 1e-6


@pytest.mark.parametrize("setting", ["-1", "inf", "nan", "11", "1,floor=0"])
def test_impossible_settings_of_quantity_skew_are_refused(setting):
    with pytest.raises(InputError, match=r"partition 'quantity': .* is refused"):
        deal_out(f"quantity:{setting}", TEN_CLASSES, 3, np.random.default_rng(0))


# Shards.


@given(federations(), st.integers(1, 4))
@settings(max_examples=75, deadline=None, derandomize=True)
def test_shards_lose_nothing_or_are_refused(federation, n):
    labels, clients, seed = federation
    if clients * n > len(labels):
        with pytest.raises(InputError, match=f"cuts {clients * n} shards for {clients} clients, more than the"):
            deal_out(f"shards:{n}", labels, clients, np.random.default_rng(seed))
        return
    parts = deal_out(f"shards:{n}", labels, clients, np.random.default_rng(seed))
    assert_is_partition(parts, len(labels), clients)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= n


@pytest.mark.parametrize(("n", "most"), [(1, 1), (2, 2), (3, 6)])
def test_a_client_sees_as_many_classes_as_it_has_shards_at_most(n, most):
    # 200 images of a class are a whole number of shards for n = 1 and 2; for n = 3 some shards see two classes.
    parts = Shards(n).deal(TEN_CLASSES, 100, np.random.default_rng(0))
    assert all(len(np.unique(TEN_CLASSES[part])) <= most for part in parts)
    assert len({tuple(np.unique(TEN_CLASSES[part])) for part in parts}) >= 10


def test_every_client_has_the_same_number_of_images_as_in_the_paper():
    # McMahan et al.: 60,000 images, 200 shards of 300, 100 clients of two shards.
    labels = np.random.default_rng(0).permutation(np.arange(60_000) % 10)
    parts = Shards(2).deal(labels, 100, np.random.default_rng(1))
    assert {len(part) for part in parts} == {600}
    assert max(len(np.unique(labels[part])) for part in parts) == 2


def test_shards_are_drawn_at_random():
    # The class of a client's one shard, 10 clients and classes: over 400 deals each class 40 times, in mean.
    counts = np.zeros(10)
    for seed in range(400):
        (label,) = np.unique(TEN_CLASSES[Shards(1).deal(TEN_CLASSES, 10, np.random.default_rng(seed))[0]])
        counts[label] += 1
    # With fresh seeds a false alarm has probability 1e-6.
    assert stats.chisquare(counts).pvalue > 1e-6


# Natural clients.


@given(federations(), st.integers(1, 8))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_natural_parts_lose_nothing_and_tear_no_owner_apart(federation, owners):
    labels, clients, seed = federation
    ids = np.random.default_rng(seed).integers(0, owners, len(labels)) * 7 - 3
    if clients > len(np.unique(ids)):
        with pytest.raises(InputError, match=f"clients {clients} is more than the {len(np.unique(ids))} owners"):
            deal_out("natural", labels, clients, np.random.default_rng(seed), ids)
        return
    parts = deal_out("natural", labels, clients, np.random.default_rng(seed), ids)
    assert_is_partition(parts, len(labels), clients)
    owned = [set(ids[part].tolist()) for part in parts]
    assert sum(map(len, owned)) == len(set(ids.tolist()))


def test_with_a_client_for_each_owner_clients_are_the_owners_in_order():
    ids = np.array([30, 10, 20, 10, 30, 30])
    parts = Natural().deal(np.zeros(6, dtype=np.int64), 3, np.random.default_rng(0), ids)
    assert [part.tolist() for part in parts] == [[1, 3], [2], [0, 4, 5]]


def test_owners_are_spread_evenly_over_fewer_clients():
    ids = np.repeat(np.arange(100), 10)
    parts = Natural().deal(np.zeros(1000, dtype=np.int64), 7, np.random.default_rng(0), ids)
    assert max(map(len, parts)) - min(map(len, parts)) <= 10


def test_natural_parts_need_a_data_set_that_names_owners():
    with pytest.raises(InputError, match="partition natural needs a data set that says whose each image is"):
        deal_out("natural", TEN_CLASSES, 3, np.random.default_rng(0))
