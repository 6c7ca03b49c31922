import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.randomness import Lasting, isolated, stream, torch_stream

parts = st.one_of(st.integers(-3, 12), st.sampled_from(["", "1", "a", "a1", "order", '","', "é"]))
paths = st.lists(parts, max_size=3).map(tuple)


def first_numbers(seed: int, *path: str | int) -> tuple[int, int]:
    """64 bits of each of the two generators of a path: equal for two paths by a chance of 2^-64."""
    ours = int(stream(seed, *path).integers(2**63))
    return ours, int(torch.randint(2**62, (), generator=torch_stream(seed, *path)))


def test_streams_are_the_published_function_of_seed_and_path_on_every_host():
    # blake2b (128 bits) of the JSON text '[7, "order", 3, 1]', as PCG64 seed, and modulo 2^63 for torch.
    assert stream(7, "order", 3, 1).integers(2**32, size=3).tolist() == [3615105887, 1754014742, 2519944069]
    assert torch_stream(7, "order", 3, 1).initial_seed() == 670201356023423897


@given(paths, paths, st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_numbers_are_equal_exactly_when_seed_and_path_are(first, second, seed, other_seed):
    ours, theirs = first_numbers(seed, *first), first_numbers(other_seed, *second)
    if (seed, first) == (other_seed, second):
        assert ours == theirs
    else:
        assert ours[0] != theirs[0]
        assert ours[1] != theirs[1]


@pytest.mark.parametrize(
    ("path", "other"),
    [(("a", 1), ("a1",)), ((1,), ("1",)), (("a", "b"), ("b", "a")), (("a",), ("a", "")), ((1, 2), (12,))],
)
def test_paths_that_look_alike_give_different_streams(path, other):
    assert first_numbers(0, *path) != first_numbers(0, *other)


def test_a_path_does_not_continue_the_seed():
    assert first_numbers(0, 1, "a") != first_numbers(0, "a")
    assert first_numbers(1, "a") != first_numbers(0, 1, "a")


def test_a_stream_does_not_depend_on_what_others_drew_or_in_which_order():
    alone = stream(3, "b").normal(size=4)
    stream(3, "a").normal(size=1000)
    np.random.default_rng(0).normal(size=10)
    torch.rand(5)
    np.testing.assert_array_equal(stream(3, "b").normal(size=4), alone)


def test_neighbouring_streams_are_uncorrelated():
    # Correlation of 2 x 20,000 independent normals: standard deviation 1/sqrt(20,000); beyond 6 of them by 2e-9.
    ours, theirs = stream(0, "client", 1).normal(size=20_000), stream(0, "client", 2).normal(size=20_000)
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 6 / np.sqrt(20_000)


def test_isolated_gives_the_stream_of_its_path_whatever_was_drawn_before():
    drawn = []
    for before in (1, 2):
        torch.manual_seed(before)
        with isolated(5, "model"):
            drawn.append(torch.rand(8))
    expected = torch.rand(8, generator=torch_stream(5, "model"))
    assert torch.equal(drawn[0], expected)
    assert torch.equal(drawn[1], expected)


def test_isolated_restores_the_global_generator():
    before = torch.get_rng_state()
    with isolated(5, "outer"), isolated(6, "inner"):
        torch.rand(100)
    assert torch.equal(torch.get_rng_state(), before)


def test_isolated_restores_the_global_generator_after_an_error():
    @isolated(5, "model")
    def draw_and_fail():
        torch.rand(100)
        raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_isolated_blocks_do_not_disturb_the_block_around_them():
    with isolated(1, "outer"):
        first, second = torch.rand(2), torch.rand(2)
    with isolated(1, "outer"):
        assert torch.equal(torch.rand(2), first)
        with isolated(2, "inner"):
            torch.rand(7)
        assert torch.equal(torch.rand(2), second)


def test_a_lasting_stream_goes_on_where_it_was_whatever_others_draw():
    with isolated(3, "layers", 1):
        whole = torch.rand(6)
    lasting, other = Lasting(3, "layers", 1), Lasting(3, "layers", 2)
    before, parts = torch.get_rng_state(), []
    for _ in range(3):
        with lasting.going_on():
            parts.append(torch.rand(2))
        with other.going_on():
            torch.rand(5)
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(torch.get_rng_state(), before)
