"""LPIPS: how alike two images look to a network, an optional score. Nothing is ever downloaded for it."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.files.reading import open_regular
from dtfl_private.leakage.image_metrics import checked
from dtfl_private.protocol.contracts import FloatArray

# AlexNet's layers of stride leave nothing of a smaller image.
SMALLEST_SIDE = 64
CHUNK = 64
# The published file has 233 MiB.
LARGEST_WEIGHTS_BYTES = 2**29


def lpips(guess: Tensor, truth: Tensor) -> FloatArray:
    """Return the LPIPS distance of each image (N,), version 0.1 with AlexNet; 0 of equal images, lower is more alike.

    Zhang et al. 2018 (The unreasonable effectiveness of deep features, arXiv 1801.03924). Grey images are repeated to
    three channels, images with a side below 64 pixels enlarged (bilinear): without that, small images have no score.

    Raises:
        InputError: torchmetrics or AlexNet's weights are not there, or the weights are other ones.
    """
    guess, truth = checked(guess, truth)
    require_lpips()
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    pairs = zip(torch.split(guess.float(), CHUNK), torch.split(truth.float(), CHUNK), strict=True)
    parts = [
        learned_perceptual_image_patch_similarity(
            _for_network(part), _for_network(true), net_type="alex", reduction="none", normalize=True
        ).reshape(-1)
        for part, true in pairs
    ]
    return np.asarray(torch.cat(parts).double().numpy())


def weights_file() -> Path:
    """Return where torch keeps AlexNet's weights, whether they are there or not."""
    from torchvision.models import AlexNet_Weights  # torchvision takes a while to load

    name = str(AlexNet_Weights.IMAGENET1K_V1.url).rpartition("/")[2]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def require_lpips() -> None:
    """Raise `InputError` if torchmetrics or AlexNet's weights are not there, or the weights are other ones."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise InputError("LPIPS needs torchmetrics, which is not installed: pip install 'dtfl-private[lpips]'")
    path = weights_file()
    if not path.is_file():
        raise InputError(
            f"LPIPS needs torchvision's AlexNet weights, and {path} is not there: put the file there, or leave LPIPS "
            "out (nothing is downloaded here)"
        )
    # The file's name ends in the first digits of its SHA-256. Torch looks at it when it downloads, not when it reads.
    expected = path.stem.rpartition("-")[2]
    with open_regular(path, most_bytes=LARGEST_WEIGHTS_BYTES) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise InputError(f"AlexNet weights {path} have the SHA-256 {found}, which does not start with {expected}")


def _for_network(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)
    height, width = images.shape[2:]
    if min(height, width) >= SMALLEST_SIDE:
        return images
    scale = SMALLEST_SIDE / min(height, width)
    size = (round(height * scale), round(width * scale))
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False).clamp(0, 1)
