"""Decode PNG and JPEG files of unknown origin into uint8 pixels; whatever is wrong with a file names that file."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from dtfl_private.errors import InputError
from dtfl_private.files import reading

if TYPE_CHECKING:
    from torch import Tensor

# A side in pixels that images may be resized to.
Side = Annotated[int, Field(ge=4, le=1024)]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
FORMATS = ("PNG", "JPEG")

# Bounds on what a single file may cost: 256 MiB to read, 64 million pixels to decode.
MAX_FILE_BYTES = 2**28
MAX_PIXELS = 2**26

# Bound on what all images of a data set may take once they are decoded.
MAX_DECODED_BYTES = 2**32

# A PNG file tells the bits per channel at this place (its header chunk is always the first); Pillow would cut 16-bit
# colours down to 8 without a word.
PNG_DEPTH_AT = 24

# What Pillow's decoders raise on damaged files.
DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)

Background = Literal["white"]

EIGHT_BIT_MODES = ("1", "L", "P", "RGB")
ALPHA_MODES = ("LA", "PA", "RGBA")


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """What images are turned into.

    size: side in pixels of the square, or width and height, that every image is resized to (bilinear with
        antialiasing; the aspect ratio is not kept); None leaves images as they are, which must then agree in size.
    grey: one channel (ITU-R 601 luma) instead of red, green, blue.
    background: what transparent images are put on; None refuses them.
    """

    size: int | tuple[int, int] | None
    grey: bool
    background: Background | None = None

    @property
    def box(self) -> tuple[int, int] | None:
        """Width and height in pixels; None where images are left as they are."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class Decoded(NamedTuple):
    """One image, uint8 (C, H, W); whether it had transparent pixels, and another size than it has now."""

    pixels: NDArray[np.uint8]
    transparent: bool
    resized: bool


class TransparentImageError(InputError):
    """An image at ``path`` has transparent pixels, and no background was chosen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} has transparent pixels: put it on a background and save it without transparency")


def require_bounded(files: Sequence[Path], target: PixelFormat) -> None:
    """Refuse files whose images together would take more than `MAX_DECODED_BYTES`, from the first one's header alone.

    Raises:
        InputError: they would; or the first one cannot be read.
    """
    if target.box is None:
        with _quiet(), _opened(files[0]) as image:
            width, height = image.size
    else:
        width, height = target.box
    whole = len(files) * (1 if target.grey else 3) * width * height
    if whole > MAX_DECODED_BYTES:
        raise InputError(
            f"{len(files):,} images of {width}x{height} pixels take {whole / 2**30:,.1f} GiB decoded, more than "
            f"{MAX_DECODED_BYTES / 2**30:g} GiB: resize them by a smaller size=PIXELS, or take fewer images"
        )


def decode_all(
    files: Sequence[Path], target: PixelFormat, shape: tuple[int, ...] | None = None
) -> "tuple[Tensor, int]":
    """Return the images of at least one file, uint8 (N, C, H, W), and how many of them were transparent.

    Each is decoded straight into its place, one at a time.

    Args:
        files: what to decode.
        target: what to turn the images into.
        shape: (C, H, W) that images must have; by default that of the first one.

    Raises:
        TransparentImageError: an image is transparent, and ``target`` has no background.
        InputError: a file that cannot be read, is damaged, is no PNG or JPEG image of 8 bits, or differs in size.
    """
    import torch

    with _quiet():
        first, first_transparent, _ = _decode(files[0], target)
        transparent = int(first_transparent)
        shape = shape or first.shape
        # Left as the system gave it: pages are only taken when an image is put there.
        images = np.empty((len(files), *shape), dtype=np.uint8)
        for place, path in enumerate(files):
            image, see_through, _ = _decode(path, target) if place else (first, False, False)
            transparent += see_through
            if image.shape != shape:
                raise InputError(
                    f"{path} is {image.shape[2]}x{image.shape[1]} pixels, the images before it {shape[2]}x{shape[1]}: "
                    "replace it, or resize all by the data set's setting size=PIXELS, as in image-folder:size=32"
                )
            images[place] = image
    return torch.from_numpy(images), transparent


def count_transparent(files: Sequence[Path], target: PixelFormat) -> int:
    """Return how many images have transparent pixels; of files with another fault it is not known, they count as none.

    It decodes them all, one at a time.
    """
    return sum(_is_transparent(path, target) for path in files)


def _is_transparent(path: Path, target: PixelFormat) -> bool:
    try:
        decode(path, target)
    except TransparentImageError:
        return True
    except InputError:
        return False
    return False


def decode(path: Path, target: PixelFormat) -> NDArray[np.uint8]:
    """Return one image, uint8 (C, H, W). Errors as those of `decode_all`."""
    return decode_noting(path, target).pixels


def decode_noting(path: Path, target: PixelFormat) -> Decoded:
    """Return one image, and what had to be done to it. Errors as those of `decode_all`."""
    with _quiet():
        return _decode(path, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Pillow's warnings pass: oddities of EXIF data and palettes do not concern pixels. Bombs are refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decode(path: Path, target: PixelFormat) -> Decoded:
    with _opened(path) as image:
        image.load()
        return _converted(path, image, target)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image whose header promises nothing that is refused; errors of decoding it become `InputError`."""
    try:
        data = reading.read_bytes(path, most_bytes=MAX_FILE_BYTES)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(path, image, data)
            yield image
    except DECODER_ERRORS as error:
        text = getattr(error, "strerror", None) or str(error)
        reason = " ".join(text.split()).partition(" <_io.BytesIO")[0]
        raise InputError(f"{path} cannot be read as a PNG or JPEG image ({reason}): replace or remove it") from None


def _check(path: Path, image: Image.Image, data: bytes) -> None:
    """Refuse what could only be decoded by guessing, from the header alone."""
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{path} is {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}: replace or remove it"
        )
    bits = data[PNG_DEPTH_AT] if image.format == "PNG" else 8
    if bits == 16 or image.mode.startswith(("I", "F")):
        raise InputError(f"{path} has 16 bits per channel, expected 8: convert it to 8-bit grey or RGB")
    if image.mode not in (*EIGHT_BIT_MODES, *ALPHA_MODES):
        raise InputError(f"{path} is a {image.mode} image, expected grey or RGB: convert it")


def _converted(path: Path, image: Image.Image, target: PixelFormat) -> Decoded:
    transparent = False
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        transparent = image.getchannel("A").getextrema()[0] != 255
        if transparent:
            if target.background is None:
                raise TransparentImageError(path)
            image = Image.alpha_composite(Image.new("RGBA", image.size, target.background), image)
    converted = image.convert("L" if target.grey else "RGB")
    resized = target.box is not None and converted.size != target.box
    if target.box is not None and resized:
        converted = converted.resize(target.box, Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return Decoded(pixels[np.newaxis] if target.grey else pixels.transpose(2, 0, 1), transparent, resized)
