"""Closed forms where there are some; for SSIM two oracles: plain loops with scipy, and torchmetrics."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torchmetrics.functional.image import structural_similarity_index_measure

from dtfl_private.leakage import image_metrics as scores


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.5, 0.1, 0.001])
def test_mse_and_psnr_of_a_constant_offset(offset):
    truth = noise(3, 2, 5, 4) * (1 - offset)
    guess = truth + offset
    np.testing.assert_allclose(scores.mse(guess, truth), offset**2, rtol=1e-9)
    np.testing.assert_allclose(scores.psnr(guess, truth), -20 * np.log10(offset), rtol=1e-9)


def test_mse_is_of_each_image_over_all_its_pixels():
    truth = torch.zeros(2, 1, 2, 2)
    guess = torch.tensor([[[[1.0, 0], [0, 0]]], [[[0.5, 0.5], [0, 0]]]])
    assert scores.mse(guess, truth).tolist() == [0.25, 0.125]
    assert scores.mse(guess, truth).dtype == np.float64


def test_psnr_of_equal_images_is_the_ceiling():
    truth = noise(2, 1, 4, 4)
    assert scores.psnr(truth, truth).tolist() == [scores.MAX_PSNR_DB] * 2
    assert scores.psnr(truth * (1 - 1e-9), truth).tolist() == [scores.MAX_PSNR_DB] * 2


def test_a_guess_out_of_range_counts_as_the_nearest_in_range():
    truth = torch.tensor([0.0, 1.0, 0.5, 0.5]).reshape(1, 1, 2, 2)
    guess = torch.tensor([-3.0, 7.0, 0.5, 2.0]).reshape(1, 1, 2, 2)
    assert scores.mse(guess, truth).tolist() == [0.25 / 4]


@pytest.mark.parametrize(
    ("height", "width", "window"), [(28, 28, 11), (11, 40, 11), (10, 28, 9), (8, 8, 7), (3, 9, 3), (2, 2, 1)]
)
def test_the_window_is_the_largest_odd_one_that_fits(height, width, window):
    assert scores.ssim_window(height, width) == window


def ssim_by_loops(guess: np.ndarray, truth: np.ndarray, window: int) -> float:
    """Return the SSIM of one channel (H, W): scipy filters, then the inner places alone, each by the formula."""
    offsets = np.arange(window) - window // 2
    kernel = np.exp(-(offsets**2) / (2 * (1.5 * window / 11) ** 2))
    kernel /= kernel.sum()

    def filtered(image: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(image, kernel, axis=0), kernel, axis=1)

    a, b, aa, bb, ab = (filtered(image) for image in (guess, truth, guess**2, truth**2, guess * truth))
    border, values = window // 2, []
    for y in range(border, truth.shape[0] - border):
        for x in range(border, truth.shape[1] - border):
            covariance = ab[y, x] - a[y, x] * b[y, x]
            spread = (aa[y, x] - a[y, x] ** 2) + (bb[y, x] - b[y, x] ** 2)
            means = a[y, x] ** 2 + b[y, x] ** 2
            top = (2 * a[y, x] * b[y, x] + 1e-4) * (2 * covariance + 9e-4)
            values.append(top / ((means + 1e-4) * (spread + 9e-4)))
    return float(np.mean(values))


SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 16, 16), (2, 11, 20), (1, 10, 9), (1, 3, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_plain_loops(shape):
    truth = noise(2, *shape)
    guess = (truth + 0.3 * (noise(2, *shape, seed=1) - 0.5)).clamp(0, 1)
    window = scores.ssim_window(*shape[1:])
    expected = [
        np.mean([ssim_by_loops(guess[n, c].numpy(), truth[n, c].numpy(), window) for c in range(shape[0])])
        for n in range(2)
    ]
    np.testing.assert_allclose(scores.ssim(guess, truth), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_torchmetrics_where_the_window_lies_within_the_image(shape):
    truth = noise(3, *shape)
    guess = (truth + 0.3 * (noise(3, *shape, seed=1) - 0.5)).clamp(0, 1)
    window = scores.ssim_window(*shape[1:])
    _, whole = structural_similarity_index_measure(
        guess, truth, sigma=1.5 * window / 11, data_range=1.0, reduction="none", return_full_image=True
    )
    border = window // 2
    expected = whole[..., border:-border, border:-border].flatten(1).mean(dim=1)
    np.testing.assert_allclose(scores.ssim(guess, truth), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_of_equal_images_is_1_also_of_flat_ones(shape):
    images = torch.cat([noise(2, *shape), torch.zeros(1, *shape), torch.ones(1, *shape)]).float()
    np.testing.assert_allclose(scores.ssim(images, images), 1, atol=1e-12)


def test_ssim_of_flat_images_is_the_luminance_term_and_of_a_negative_below_0():
    grey, white = torch.full((1, 1, 12, 12), 0.5), torch.ones(1, 1, 12, 12)
    assert scores.ssim(grey, white)[0] == pytest.approx((2 * 0.5 + 1e-4) / (0.25 + 1 + 1e-4))
    checks = (torch.arange(144).reshape(1, 1, 12, 12) + torch.arange(12)[:, None]) % 2
    assert scores.ssim(1.0 - checks, checks.float())[0] < -0.9


def test_images_are_scored_the_same_in_any_company(monkeypatch):
    truth, guess = noise(7, 1, 12, 12), noise(7, 1, 12, 12, seed=1)
    together = [scores.ssim(guess, truth), scores.identifiability(guess, truth)]
    monkeypatch.setattr(scores, "CHUNK", 3)
    np.testing.assert_allclose(scores.ssim(guess, truth), together[0], atol=1e-12)
    assert scores.identifiability(guess, truth).tolist() == together[1].tolist()


def test_identifiability_is_whether_the_nearest_candidate_is_the_truth():
    truth = torch.tensor([0.0, 0.4, 1.0]).reshape(3, 1, 1, 1)
    guess = torch.tensor([0.1, 0.9, 0.8]).reshape(3, 1, 1, 1)
    assert scores.identifiability(guess, truth).tolist() == [1, 0, 1]
    assert scores.identifiability(truth, truth).tolist() == [1, 1, 1]


def test_equally_near_candidates_share_what_they_count():
    """Duplicates among the true images, bit for bit, in large images whose distances carry rounding errors."""
    one, other = noise(1, 3, 32, 32), noise(1, 3, 32, 32, seed=1)
    truth = torch.cat([one, other, one, one])
    guess = (truth + 0.01 * noise(4, 3, 32, 32, seed=2)).clamp(0, 1)
    np.testing.assert_allclose(scores.identifiability(guess, truth), [1 / 3, 1, 1 / 3, 1 / 3])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_the_same_guess_for_all_is_right_once_in_n(value):
    truth = noise(20, 1, 6, 6)
    assert scores.identifiability(torch.full_like(truth, value), truth).mean() == pytest.approx(1 / 20)
    same = truth[:1].repeat(20, 1, 1, 1)
    assert scores.identifiability(torch.full_like(truth, value), same).mean() == pytest.approx(1 / 20)


def test_one_grey_level_in_one_pixel_is_no_tie():
    truth = noise(1, 3, 32, 32).mul(255).round().div(255).repeat(2, 1, 1, 1)
    truth[1, 0, 0, 0] = (truth[1, 0, 0, 0] - 1 / 255).abs()
    assert scores.identifiability(truth, truth).tolist() == [1, 1]


def test_correct_compares_classes():
    assert scores.correct(torch.tensor([1, 2, 0]), torch.tensor([1, 0, 0])).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="do not fit"):
        scores.correct(torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize("score", [scores.mse, scores.psnr, scores.ssim, scores.identifiability])
@pytest.mark.parametrize(
    ("guess", "truth", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4), "of one shape"),
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), "of one shape"),
        (torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4), "at least one"),
        (torch.full((1, 1, 4, 4), torch.nan), torch.zeros(1, 1, 4, 4), "no finite numbers"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 255.0), "within 0..1"),
        (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), torch.nan), "within 0..1"),
    ],
)
def test_what_are_no_images_is_refused(score, guess, truth, message):
    with pytest.raises(ValueError, match=message):
        score(guess, truth)
