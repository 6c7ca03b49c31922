"""What clients would send of an adversary's own images, to train and to tune by."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram, batches_of
from dtfl_private.attacking.view import View
from dtfl_private.protocol.messages import ModelDownload, Seen
from dtfl_private.randomness import isolated, torch_stream

# Clients' programs that take turns within a release, so that no lasting secret of a single one is learnt.
SECRETS = 4


class ReleasedImages(NamedTuple):
    """What a client sends of auxiliary images: activations (N, *cut shape) and labels (N,), and the images."""

    smashed: Tensor
    labels: Tensor
    images: Tensor


class Releaser:
    """Makes releases of auxiliary images as clients that began with the same weights would.

    Args:
        view: of the adversary.
        group: these clients' rounds.
        adaptive: through the defenses' samplers.
    """

    def __init__(self, view: View, group: Sequence[Seen], adaptive: bool) -> None:
        self._view = view
        self._group = group
        self._adaptive = adaptive
        # Batch norm couples a batch, so that one's own batches are of the victims' size.
        self._size = batch_size(group)

    def release(self, images: Tensor, labels: Tensor, *path: str | int) -> ReleasedImages:
        """Return a release of images (N, C, H, W) in random batches; what makes no whole batch is left out."""
        chance = torch_stream(self._view.seed, "release", self._view.tier, *path)
        with isolated(self._view.seed, "release", self._view.tier, *path):
            programs = [self._program(turn, *path) for turn in range(SECRETS)]
            parts = []
            for turn, batch in enumerate(batches_of(len(images), self._size, chance)):
                program = programs[turn % SECRETS]
                own = images[batch].to(program.device)
                sent = program.release(own, labels[batch].to(program.device))
                parts.append((sent, program.sent_labels(labels[batch]), own))
        smashed, sent_labels, kept = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return ReleasedImages(smashed=smashed, labels=sent_labels.to(smashed.device), images=kept)

    @cached_property
    def varies(self) -> bool:
        """Whether a second release differs from the first: by fresh draws, or by the other images of a batch."""
        images, labels = (part[: 2 * self._size] for part in (self._view.auxiliary.images, self._view.auxiliary.labels))
        first, second = (_sorted(self.release(images, labels, "probe", turn)) for turn in range(2))
        return not torch.allclose(first, second, rtol=1e-3, atol=1e-4)

    def _program(self, turn: int, *path: str | int) -> ClientProgram:
        draw = "/".join(map(str, (*path, turn)))
        return self._view.program(self._group[turn % len(self._group)], adaptive=self._adaptive, draw=draw)


def _sorted(released: ReleasedImages) -> Tensor:
    """Return a release's activations in an order that depends on the images alone."""
    return released.smashed[released.images.flatten(1).double().sum(dim=1).argsort()]


def batch_size(group: Sequence[Seen]) -> int:
    """Return the most frequent size of the batches of clients' rounds; of several the largest."""
    sizes = Counter(len(batch.labels) for seen in group for batch in seen.batches)
    return max(sizes, key=lambda size: (sizes[size], size))


def by_download(rounds: Iterable[Seen]) -> dict[str, list[Seen]]:
    """Return clients' rounds in groups that began with the same weights, by `fingerprint`, in order."""
    groups: dict[str, list[Seen]] = {}
    for seen in rounds:
        groups.setdefault(fingerprint(seen.download), []).append(seen)
    return groups


def fingerprint(download: ModelDownload) -> str:
    """Return a short text that is the same for downloads of the same weights and format, and for no others."""
    digest = hashlib.blake2b((download.wire or "").encode(), digest_size=8)
    for state in (download.weights, download.head):
        for name, tensor in sorted(state.items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def validation_release(view: View, seen: Seen, adaptive: bool, batches: int) -> list[ReleasedImages]:
    """Return up to so many whole batches of auxiliary validation images, as a client sends them."""
    size = batch_size([seen])
    auxiliary = view.auxiliary
    images, labels = auxiliary.validation_images[: batches * size], auxiliary.validation_labels[: batches * size]
    released = Releaser(view, [seen], adaptive).release(images, labels, "tuning")
    return [ReleasedImages(*parts) for parts in zip(*(torch.split(part, size) for part in released), strict=True)]
