"""Decode PNG and JPEG files of unknown origin into uint8 pixels; whatever is wrong with a file names that file."""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor

from dtfl_private.errors import InputError

# A side in pixels that images may be resized to.
Side = Annotated[int, Field(ge=4, le=1024)]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
FORMATS = ("PNG", "JPEG")

# Bounds on what a single file may cost: 256 MiB to read, 64 million pixels to decode.
MAX_FILE_BYTES = 2**28
MAX_PIXELS = 2**26

# A PNG file tells the bits per channel at this place (its header chunk is always the first); Pillow would cut 16-bit
# colours down to 8 without a word.
PNG_DEPTH_AT = 24

# What Pillow's decoders raise on damaged files.
DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)

EIGHT_BIT_MODES = ("1", "L", "P", "RGB")
ALPHA_MODES = ("LA", "PA", "RGBA")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What images are turned into.

    size: side in pixels of the square that every image is resized to (bilinear with antialiasing; the aspect ratio is
        not kept); None leaves images as they are, which must then agree in size.
    grey: one channel (ITU-R 601 luma) instead of red, green, blue.
    """

    size: int | None
    grey: bool


def decode_all(files: Sequence[Path], target: Target, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return the images of at least one file, uint8 (N, C, H, W), each decoded straight into its place.

    Args:
        files: what to decode.
        target: what to turn the images into.
        shape: (C, H, W) that images must have; by default that of the first one.

    Raises:
        InputError: a file that cannot be read, is damaged, is no PNG or JPEG image of 8 bits, or differs in size.
    """
    # EXIF and palette oddities that Pillow warns of do not concern the pixels; bombs are refused, not warned of.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        first = decode(files[0], target)
        shape = shape or first.shape
        # Left as the system gave it: pages are only taken when an image is put there.
        images = np.empty((len(files), *shape), dtype=np.uint8)
        for place, path in enumerate(files):
            image = decode(path, target) if place else first
            if image.shape != shape:
                raise InputError(
                    f"{path} is {image.shape[2]}x{image.shape[1]} pixels, the images before it {shape[2]}x{shape[1]}: "
                    "replace it, or resize all by the data set's setting size=PIXELS"
                )
            images[place] = image
    return torch.from_numpy(images)


def decode(path: Path, target: Target) -> NDArray[np.uint8]:
    """Return one image, uint8 (C, H, W). Errors as those of `decode_all`."""
    try:
        data = _read(path)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(path, image, data)
            image.load()
            pixels = _converted(path, image, target)
    except DECODER_ERRORS as error:
        text = getattr(error, "strerror", None) or str(error)
        reason = " ".join(text.split()).partition(" <_io.BytesIO")[0]
        raise InputError(f"{path} cannot be read as a PNG or JPEG image ({reason}): replace or remove it") from None
    return pixels


def _read(path: Path) -> bytes:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("not a regular file")  # opening a pipe would wait for its writer
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"more than {MAX_FILE_BYTES >> 20} MiB")
    return data


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


def _converted(path: Path, image: Image.Image, target: Target) -> NDArray[np.uint8]:
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            raise InputError(f"{path} has transparent pixels: put it on a background and save it without transparency")
    converted = image.convert("L" if target.grey else "RGB")
    if target.size is not None and converted.size != (target.size, target.size):
        converted = converted.resize((target.size, target.size), Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return pixels[np.newaxis] if target.grey else pixels.transpose(2, 0, 1)
