"""Images to judge in pieces of a fixed size."""

from collections.abc import Mapping
from dataclasses import replace

from dtfl_private.training.tasks import ImageRange, ImageSet
from dtfl_private.training.worker import WorkerSetup

EVALUATION_BATCH = 500
"""Images judged at once: a fixed number, so that sums are the same wherever they are computed."""


def counts_of(setup: WorkerSetup) -> Mapping[ImageSet, int]:
    """Return how many images of each kind there are to judge models on."""
    return {"test": len(setup.test_labels), "validation": len(setup.validation_labels)}


def chunks_of(images: ImageRange, counts: Mapping[ImageSet, int]) -> list[ImageRange]:
    """Return the pieces in which these images are judged."""
    stop = counts[images.on] if images.stop is None else images.stop
    reach = EVALUATION_BATCH * images.step
    return [replace(images, start=start, stop=min(start + reach, stop)) for start in range(images.start, stop, reach)]
