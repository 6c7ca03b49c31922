"""Pictures of what an attack got: truth, reconstructions and trivial guesses of some victims, one below the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
HEADING_INCHES = 0.5
# Between two images, and between an image and its texts.
GAP_INCHES = 0.08


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
    shown = truth[chosen.tolist()]
    rows = [_Row(TRUTH, shown, [""] * len(shown))]
    rows += [_compared(name, guess[chosen.tolist()], shown) for name, guess in guesses.items()]
    cell = _Cell(CELL_INCHES, CELL_INCHES * truth.shape[2] / truth.shape[3] + CAPTION_INCHES)
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(NAMES_INCHES + len(chosen) * cell.width, HEADING_INCHES + len(rows) * cell.height))
        axes = _paper(figure)
        for place, heading in _headings(len(chosen), len(first)).items():
            left, right, _, top = cell.frame(0, place)
            axes.text((left + right) / 2, top - GAP_INCHES, heading, ha="center", va="bottom")
        for number, row in enumerate(rows):
            _draw(axes, row, [cell.frame(number, place) for place in range(len(chosen))])
        width, height = figure.get_size_inches()
        axes.set(xlim=(0, width), ylim=(height, 0))
        figure.text(0.5, 1 - GAP_INCHES / height, literal(title), fontsize=9, ha="center", va="top")
        return picture_bytes(figure, form)


@dataclass(frozen=True)
class _Row:
    """Images (N, C, H, W) beside a name, each with a text below it."""

    name: str
    images: Tensor
    captions: Sequence[str]


@dataclass(frozen=True)
class _Cell:
    """Room for an image and its caption, in inches."""

    width: float
    height: float

    def frame(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return where an image lies: left, right, bottom and top, from the left and from the top."""
        left, top = NAMES_INCHES + column * self.width, HEADING_INCHES + row * self.height
        image = self.height - CAPTION_INCHES
        narrower = GAP_INCHES * self.width / image  # the image keeps its shape
        return left + narrower / 2, left + self.width - narrower / 2, top + image - GAP_INCHES, top


def _compared(name: str, images: Tensor, truth: Tensor) -> _Row:
    pairs = zip(psnr(images, truth).tolist(), ssim(images, truth).tolist(), strict=True)
    captions = [f"{decibel:.1f} dB, {similarity:.2f}" for decibel, similarity in pairs]
    return _Row(name, checked(images, truth)[0], captions)


def _headings(shown: int, total: int) -> dict[int, str]:
    """Return what stands above the columns of the best, the median and the worst victim."""
    if shown == 1:
        return {0: "the only one"}
    median = shown // 2 if shown < total else (shown - 1) // 2
    return {median: "median", 0: f"best of {total}", shown - 1: "worst"}


def _paper(figure: Figure) -> Axes:
    """Return axes over all of a figure, to be drawn on in inches: axes for each image take six times as long."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return axes


def _draw(axes: Axes, row: _Row, frames: Sequence[tuple[float, float, float, float]]) -> None:
    for image, caption, frame in zip(row.images, row.captions, frames, strict=True):
        left, right, bottom, top = frame
        pixels = image.detach().cpu().permute(1, 2, 0).numpy()
        # A single channel is grey and has no axis for it.
        grey = pixels.squeeze(2) if pixels.shape[2] == 1 else pixels
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=frame, aspect="auto")
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="black", linewidth=0.8)
        axes.text((left + right) / 2, bottom + GAP_INCHES / 2, caption, fontsize=7, ha="center", va="top")
    left, _, bottom, top = frames[0]
    axes.text(left - GAP_INCHES, (bottom + top) / 2, literal(row.name), ha="right", va="center")
