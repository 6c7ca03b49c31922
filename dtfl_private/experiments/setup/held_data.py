"""What one machine of a federation holds: its own data set, and what it knows of the others' images."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtfl_private.data.dataset import Dataset
from dtfl_private.data.registration import Registration
from dtfl_private.protocol.contracts import IntArray


@dataclass(frozen=True, kw_only=True)
class HeldData:
    """The data of a run as one machine has them, in place of a simulation that has everybody's.

    Attributes:
        dataset: its images; a server's are those of the test.
        parts: indices of each client's training images in it; of clients elsewhere none.
        images_K: training images of each client, wherever they are.
        registration: what clients and server told each other of the images before round 1.
    """

    dataset: Dataset
    parts: Sequence[IntArray]
    images_K: IntArray
    registration: Registration
