import pytest
import torch

from dtfl_private.leakage.measures.effective_rank import EffectiveRank, effective_rank


def sample_with(singular_values: list[float], count: int = 30, values: int = 20) -> torch.Tensor:
    """Return a sample (count, values), centred and shifted by 5, with these singular values."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, len(singular_values), generator=generator, dtype=torch.float64)
    left = torch.linalg.qr(rows - rows.mean(dim=0)).Q
    right = torch.linalg.qr(torch.randn(values, len(singular_values), generator=generator, dtype=torch.float64)).Q
    return left * torch.tensor(singular_values) @ right.T + 5


@pytest.mark.parametrize("shape", [(30, 20), (30, 60)])
@pytest.mark.parametrize(
    ("spectrum", "rank"),
    [
        ([2.0], 1),
        ([1.0] * 7, 7),
        # exp of the entropy of (1/2, 1/4, 1/4): 2^(1.5).
        ([2.0, 1.0, 1.0], 2**1.5),
        # Shares of singular values, not of their squares: (3/4, 1/4).
        ([3.0, 1.0], 4 / 3**0.75),
    ],
)
def test_the_rank_of_known_spectra(spectrum, rank, shape):
    assert effective_rank(sample_with(spectrum, *shape)) == pytest.approx(rank, rel=1e-6)


def test_a_constant_sample_has_none():
    assert effective_rank(torch.full((5, 3), 0.1)) == 0


def test_values_are_counted_per_value_of_an_image(make_release, images_of, linear):
    rank, ratio = EffectiveRank().figures(make_release(images_of(30), linear(18)[1]))
    assert (rank.metric, ratio.metric, ratio.value) == ("effective-rank", "values-per-pixel", 2.0)
    # A linear map of images of 9 values has 9 directions at most.
    assert 5 < rank.value <= 9
