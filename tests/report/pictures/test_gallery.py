import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from dtfl_private.leakage.image_metrics import psnr, ssim
from dtfl_private.report.pictures import gallery as module
from dtfl_private.report.pictures.gallery import choose_victims, gallery


def images(count: int, channels: int, height: int = 8, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def pixels(picture: bytes) -> np.ndarray:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


@pytest.fixture
def drawn(monkeypatch):
    """Collect every picture cell: (row's name, pixels, caption)."""
    cells = []
    draw = module._draw

    def recorded(axes, row, frames):
        images, texts = len(axes.images), len(axes.texts)
        draw(axes, row, frames)
        shown = [image.get_array() for image in axes.images[images:]]
        *captions, name = (text.get_text() for text in axes.texts[texts:])
        cells.extend((name, *cell) for cell in zip(shown, captions, strict=True))

    monkeypatch.setattr(module, "_draw", recorded)
    return cells


@pytest.mark.parametrize(("total", "count"), [(100, 8), (101, 5), (9, 8), (1000, 3)])
def test_best_median_and_worst_are_among_those_chosen_and_others_evenly_between(total, count):
    similarity = np.random.default_rng(0).permutation(total) / total
    chosen = choose_victims(similarity, count)
    assert len(chosen) == len(set(chosen.tolist())) == count
    ranks = np.argsort(np.argsort(-similarity))[chosen]
    assert ranks[0] == 0
    assert ranks[-1] == total - 1
    assert ranks[count // 2] == (total - 1) // 2
    steps = np.diff(ranks)
    assert steps.min() > 0
    for half in (steps[: count // 2], steps[count // 2 :]):
        assert half.max() - half.min() <= 1


def test_few_victims_are_all_shown_and_equal_ones_in_their_order():
    assert choose_victims(np.array([0.2, 0.9, 0.2]), 8).tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="at least 3"):
        choose_victims(np.zeros(5), 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_for_the_truth_and_each_guess_captioned_with_its_scores(channels, drawn):
    truth = images(20, channels)
    noisy = (truth + torch.linspace(0.05, 1, 20)[:, None, None, None] * (images(20, channels, seed=1) - 0.5)).clamp(
        0, 1
    )
    flat = truth.mean(dim=0, keepdim=True).repeat(20, 1, 1, 1)
    pixels(gallery(truth, {"decoder": noisy, "mean image": flat}, title="tier 2: $decoder", count=5))
    chosen = choose_victims(ssim(noisy, truth), 5)
    assert [name for name, *_ in drawn] == ["truth"] * 5 + ["decoder"] * 5 + ["mean image"] * 5
    for (name, shown, caption), victim in zip(drawn, [*chosen] * 3, strict=True):
        source = {"truth": truth, "decoder": noisy, "mean image": flat}[name][victim]
        np.testing.assert_allclose(np.asarray(shown).reshape(8, 8, channels), source.permute(1, 2, 0), atol=1e-6)
        scored = (source[None], truth[victim][None])
        assert caption == ("" if name == "truth" else f"{psnr(*scored)[0]:.1f} dB, {ssim(*scored)[0]:.2f}")


def test_grey_levels_are_those_of_the_image_not_stretched():
    """A picture of one dark image and one bright one: both levels are in it."""
    truth = torch.stack([torch.full((1, 8, 8), 0.2), torch.full((1, 8, 8), 0.4)])
    found = pixels(gallery(truth, {"decoder": truth}, title="levels"))
    counts = {level: int((found == level).all(axis=2).sum()) for level in (round(0.2 * 255), round(0.4 * 255))}
    assert min(counts.values()) > 2 * 100 * 100
    assert counts[51] == pytest.approx(counts[102], rel=0.05)


def test_equal_images_make_equal_files_and_matplotlib_is_left_as_it_was():
    before = dict(mpl.rcParams)
    truth = images(4, 3, 6, 12)
    first, second = (gallery(truth, {"decoder": truth * 0.5}, title="same") for _ in range(2))
    assert first == second
    assert dict(mpl.rcParams) == before


def test_a_picture_grows_with_its_rows_and_columns():
    truth = images(9, 1)
    small = pixels(gallery(truth, {"a": truth}, title="t", count=3)).shape
    wide = pixels(gallery(truth, {"a": truth}, title="t", count=9)).shape
    high = pixels(gallery(truth, {"a": truth, "b": truth, "c": truth}, title="t", count=3)).shape
    assert wide[1] > small[1]
    assert wide[0] == small[0]
    assert high[0] > small[0]


def test_a_single_victim_can_be_shown_and_two_channels_cannot():
    pixels(gallery(images(1, 1), {"a": images(1, 1)}, title="one"))
    with pytest.raises(ValueError, match="2 channels cannot be shown"):
        gallery(images(3, 2), {"a": images(3, 2)}, title="two")
