"""Images that a program holds, as arrays, tensors or PIL images, made uint8 pixels; nothing about them is guessed."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dtfl_private.data.files.pixels import MAX_DECODED_BYTES
from dtfl_private.errors import InputError

Channels = Literal["first", "last"]

Pixels = NDArray[np.uint8]

COMMON_CHANNELS = (1, 3)
"""Numbers of channels by which an axis is known to be that of channels."""

# So many images are converted at once: floats take several times the memory of what they become.
CHUNK = 1024

# An 8-bit image that was divided by 255 comes back to whole numbers but for the rounding of floats.
EXACT = 0.01

LAYOUT = "say channels='first' for (N, C, H, W) or channels='last' for (N, H, W, C)"


def pixels_of(images: object, what: str, channels: Channels | None) -> tuple[Pixels, bool]:
    """Return images as uint8 (N, C, H, W), and whether floats had to be rounded to do so.

    Args:
        images: an array or a tensor, (N, H, W), (N, H, W, C) or (N, C, H, W); whole numbers from 0 to 255, or floats
            from 0 to 1.
        what: how errors call them.
        channels: where the axis of channels is; None if their number, 1 or 3, tells.

    Raises:
        InputError: something else.
    """
    array = _channels_first(array_of(images, what), what, channels)
    if array.size > MAX_DECODED_BYTES:
        raise InputError(
            f"{what} take {array.size:,} bytes: more than {MAX_DECODED_BYTES:,}; take fewer or smaller ones"
        )
    made = np.empty(array.shape, dtype=np.uint8)
    rounded = False
    for start in range(0, len(array), CHUNK):
        part = array[start : start + CHUNK]
        made[start : start + CHUNK], lost = _bytes_of(part, what)
        rounded |= lost
    return made, rounded


def image_of(image: object, what: str, channels: Channels | None) -> tuple[Pixels, bool]:
    """Return one image as uint8 (C, H, W), and whether floats had to be rounded; see `pixels_of`.

    A PIL image may be grey, RGB or of a palette; another is refused, as it would have to be converted by guessing.
    """
    if isinstance(image, Image.Image):
        if image.mode not in ("1", "L", "P", "RGB"):
            raise InputError(f"{what} is of the mode {image.mode}: convert it, as by image.convert('RGB')")
        grey = image.mode in ("1", "L")
        image, channels = np.asarray(image.convert("L" if grey else "RGB")), "last"
    pixels, rounded = pixels_of(array_of(image, what)[None], what, channels)
    return pixels[0], rounded


def array_of(thing: Any, what: str) -> NDArray[Any]:
    """Return an array, or a tensor, as an array.

    Raises:
        InputError: it is neither.
    """
    import torch

    if isinstance(thing, torch.Tensor):
        thing = thing.detach().cpu()
        thing = (thing.float() if thing.dtype in (torch.bfloat16, torch.float16) else thing).numpy()
    if not isinstance(thing, np.ndarray):
        kind = type(thing).__name__
        raise InputError(f"{what}: a {kind}, expected a NumPy array, a torch tensor or a PIL image")
    return thing


def _channels_first(array: NDArray[Any], what: str, channels: Channels | None) -> NDArray[Any]:
    """Return images as (N, C, H, W), by what was said or by the one axis that can be that of channels."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        wanted = "(N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise InputError(f"{what} have the shape {array.shape}, expected {wanted}")
    if channels is None:
        first, last = (array.shape[axis] in COMMON_CHANNELS for axis in (1, 3))
        if first == last:
            how = "both axis 1 and axis 3" if first else "neither axis 1 nor axis 3"
            raise InputError(f"{what} have the shape {array.shape}, where {how} can be channels (1 or 3): {LAYOUT}")
        channels = "first" if first else "last"
    if channels not in ("first", "last"):
        raise InputError(f"channels is '{channels}': {LAYOUT}")
    return array if channels == "first" else array.transpose(0, 3, 1, 2)


def _bytes_of(part: NDArray[Any], what: str) -> tuple[Pixels, bool]:
    """Return values as uint8, and whether floats had to be rounded."""
    if part.dtype.kind not in "uif":
        raise InputError(f"{what} are of the type {part.dtype}, expected whole numbers 0..255 or floats 0..1")
    low, high = part.min(), part.max()
    if part.dtype.kind in "ui":
        if low < 0 or high > 255:
            raise InputError(f"{what} have values from {low} to {high}, expected whole numbers from 0 to 255")
        return part.astype(np.uint8), False
    if not np.isfinite(part).all():
        raise InputError(f"{what} have values that are no finite numbers (NaN or infinity)")
    if low < 0 or high > 1:
        raise InputError(
            f"{what} have values from {low:.4g} to {high:.4g}, expected floats from 0 to 1: do not normalise them, the "
            "training does; divide by 255 what goes from 0 to 255"
        )
    scaled = part.astype(np.float64) * 255
    whole = np.rint(scaled)
    return whole.astype(np.uint8), bool((np.abs(scaled - whole) > EXACT).any())
