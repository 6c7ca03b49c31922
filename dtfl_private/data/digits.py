"""The digits images that scikit-learn ships: the embedded default, nothing is downloaded."""

from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.protocol.contracts import FloatArray, IntArray

# Pixels are counts of 0..16 dark points in a 4x4 field.
FULL_SCALE = 16

FACTS = DatasetFacts(
    title="UCI optical digits",
    shape="1xSxS",
    classes="10",
    train="1,437",
    test="360",
    obtain="it is part of scikit-learn",
    look=lambda _: "in scikit-learn",
)

# Computed from the 1,797 images that scikit-learn ships, as they are and enlarged to 9..64 pixels, which blurs them:
# then the mean is within 2 % and the deviation within 4 % of these, whatever the size.
ORIGINAL_SIDE = 8
ORIGINAL = ChannelConstants(mean=(0.3053,), deviation=(0.3759,), source="computed from scikit-learn's load_digits")
ENLARGED = ChannelConstants(mean=(0.3053,), deviation=(0.32,), source="computed from scikit-learn's load_digits")


@described_by(FACTS)
def load_digits(
    *,
    data_dir: Path | None = None,  # noqa: ARG001 - embedded: part of every loader's signature, unused here
    download: bool = False,  # noqa: ARG001 - embedded: there is nothing to download
    size: Annotated[int, Field(ge=8, le=64)] = 16,
) -> ImageDataset:
    """Handwritten digits of 8x8 pixels, enlarged (Alpaydin and Kaynak, 1998); inside scikit-learn.

    UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), its test part, as scikit-learn
    ships it. The split is stratified and always the same.

    Args:
        data_dir: unused, the data are embedded.
        download: unused, the data are embedded.
        size: side in pixels after bilinear enlargement.
    """
    import torch
    from torch.nn import functional as F

    shipped = _shipped()
    images = torch.from_numpy(shipped.images).unsqueeze(1).float() / FULL_SCALE
    if size != ORIGINAL_SIDE:
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    images_u8 = (images * 255).round().clamp(0, 255).to(torch.uint8)
    labels, train, test = shipped.labels, shipped.train, shipped.test
    return ImageDataset(
        name="digits",
        source="UCI optical digits, shipped by scikit-learn",
        classes=tuple(str(digit) for digit in range(10)),
        train_images=images_u8[train],
        train_labels=torch.from_numpy(labels[train]),
        test_images=images_u8[test],
        test_labels=torch.from_numpy(labels[test]),
        constants=ORIGINAL if size == ORIGINAL_SIDE else ENLARGED,
    )


class _Shipped(NamedTuple):
    """Images (N, 8, 8), 0..16, and labels (N,), int64, with the places of those to train and to test on."""

    images: FloatArray
    labels: IntArray
    train: IntArray
    test: IntArray


@cache  # a run and its audit load them many times, and scikit-learn reads them from text
def _shipped() -> _Shipped:
    from sklearn.datasets import load_digits as load_sklearn_digits
    from sklearn.model_selection import train_test_split

    bundle = load_sklearn_digits()
    labels = bundle.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, random_state=0, stratify=labels)
    return _Shipped(images=bundle.images, labels=labels, train=np.sort(train), test=np.sort(test))
