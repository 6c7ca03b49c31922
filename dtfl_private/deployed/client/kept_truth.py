"""What a client's messages were made of: kept on the client's own disk if its operator wants, to score attacks by."""

from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.experiments.run_folder.recordings import save_truth
from dtfl_private.training.recording import Truth


class KeptTruth:
    """Keeps the images and labels behind the messages of each round; an input observer of the client's worker.

    Args:
        folder: of the client's own; nothing in it ever leaves by itself.
        client: its number.
    """

    def __init__(self, folder: Path, client: int) -> None:
        self._folder, self._client = folder, client
        self._latest: tuple[Tensor, Tensor, Tensor] | None = None
        self._sent: list[tuple[Tensor, Tensor, Tensor]] = []

    def fetched(self, records: Tensor, images: Tensor, labels: Tensor) -> None:
        """Take note of what the next message is made of."""
        self._latest = (images.cpu(), labels.cpu(), records.cpu())

    def began(self) -> None:
        """Begin a round."""
        self._sent = []

    def sent(self) -> None:
        """Note that a message was sent; it is made of what was fetched last."""
        assert self._latest is not None
        self._sent.append(self._latest)

    def ended(self, number: int) -> None:
        """Write the round; records are numbered as the client's own are."""
        if self._sent:
            images, labels, records = (torch.cat(parts) for parts in zip(*self._sent, strict=True))
            save_truth(self._folder, number, self._client, Truth(images=images, labels=labels, records=records))
