"""Pictures of what an attack got: truth, reconstructions and trivial guesses of some victims, one below the other."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dtfl_private.leakage.image_metrics import checked, psnr, ssim
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes

TRUTH = "truth"
CELL_INCHES = 1.05
# Room for the names of the rows, and for the caption below each picture.
NAMES_INCHES = 1.3
CAPTION_INCHES = 0.22
HEADING_INCHES = 0.65


def choose_victims(ssim_N: FloatArray, count: int = 8) -> IntArray:
    """Return which victims to show, from the best reconstructed to the worst: their positions, at most ``count``.

    The best, the median and the worst by SSIM, and others evenly spaced between them by rank. Equal ones stand in
    their own order, so that the same scores always give the same choice.

    Raises:
        ValueError: ``count`` is below 3.
    """
    if count < 3:
        raise ValueError(f"{count} victims are too few to show the best, the median and the worst: at least 3")
    ranking = np.argsort(-ssim_N, kind="stable")
    if len(ranking) <= count:
        return ranking
    before = count // 2
    median = (len(ranking) - 1) // 2
    upper = np.linspace(0, median, before + 1)
    lower = np.linspace(median, len(ranking) - 1, count - before)[1:]
    return np.asarray(ranking[np.concatenate([upper, lower]).round().astype(np.int64)])


def gallery(
    truth: Tensor, guesses: Mapping[str, Tensor], *, title: str, count: int = 8, form: PictureForm = "png"
) -> bytes:
    """Return a picture: a row with the true images and one for each guess, captioned with PSNR and SSIM.

    The victims are chosen by the first guess's SSIM (see `choose_victims`), which also says "best", "median", "worst"
    above them.

    Args:
        truth: (N, C, H, W) within 0..1, one channel (grey) or three (RGB).
        guesses: likewise, by the name for their row; reconstructions first, trivial guesses after them.
        title: heading, for example "tier 2, cut 16x14x14: decoder".
        count: victims to show, at least 3.
        form: of the picture.

    Raises:
        ValueError: images with another number of channels, guesses of another shape, or none.
    """
    if truth.shape[1] not in (1, 3):
        raise ValueError(f"images with {truth.shape[1]} channels cannot be shown: only grey and RGB ones can")
    first = ssim(next(iter(guesses.values())), truth)
    chosen = choose_victims(first, count)
    rows = 1 + len(guesses)
    height, width = truth.shape[2:]
    size = (
        NAMES_INCHES + len(chosen) * CELL_INCHES,
        HEADING_INCHES + rows * (CELL_INCHES * height / width + CAPTION_INCHES),
    )
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, len(chosen), squeeze=False)
        _row(axes[0], TRUTH, truth[chosen.tolist()], None)
        for row, (name, guess) in zip(axes[1:], guesses.items(), strict=True):
            _row(row, name, guess[chosen.tolist()], truth[chosen.tolist()])
        for place, heading in _headings(len(chosen), len(first)).items():
            axes[0][place].set_title(heading, fontsize=8)
        figure.suptitle(literal(title), fontsize=9)
        return picture_bytes(figure, form)


def _headings(shown: int, total: int) -> dict[int, str]:
    """Return what stands above the columns of the best, the median and the worst victim."""
    if shown == 1:
        return {0: "the only one"}
    median = shown // 2 if shown < total else (shown - 1) // 2
    return {median: "median", 0: f"best of {total}", shown - 1: "worst"}


def _row(axes: list[Axes], name: str, images: Tensor, truth: Tensor | None) -> None:
    if truth is None:
        captions = [""] * len(images)
    else:
        pairs = zip(psnr(images, truth).tolist(), ssim(images, truth).tolist(), strict=True)
        captions = [f"{decibel:.1f} dB, {similarity:.2f}" for decibel, similarity in pairs]
        images, _ = checked(images, truth)
    for ax, image, caption in zip(axes, images, captions, strict=True):
        pixels = image.detach().cpu().permute(1, 2, 0).numpy()
        # A single channel is grey and has no axis for it.
        ax.imshow(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(caption, fontsize=7, labelpad=2)
    axes[0].set_ylabel(literal(name), rotation=0, ha="right", va="center", labelpad=6)
