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
    """What a client sends of auxiliary images: activations (N, *cut shape), labels and numbers of batches (N,).

    And the images (N, C, H, W) themselves.
    """

    smashed: Tensor
    labels: Tensor
    batches: Tensor
    images: Tensor

    def sent_by(self, program: ClientProgram) -> ClientProgram:
        """Return a client's program as it sends this, a single batch."""
        return program.sending(self.labels, int(self.batches[0]))


class Releaser:
    """Makes releases of auxiliary images as clients that began with the same weights would.

    Args:
        view: of the adversary.
        group: these clients' rounds.
        adaptive: through the defenses' samplers.
        numbers: of the batches, in turn; None: those of the clients'.
    """

    def __init__(self, view: View, group: Sequence[Seen], adaptive: bool, numbers: Sequence[int] | None = None) -> None:
        self._view = view
        self._group = group
        self._adaptive = adaptive
        # Batch norm couples a batch, so that one's own batches are of the victims' size.
        self._size = batch_size(group)
        self._numbers = batch_numbers(group) if numbers is None else numbers

    def release(self, images: Tensor, labels: Tensor, *path: str | int) -> ReleasedImages:
        """Return a release of images (N, C, H, W) in random batches; what makes no whole batch is left out."""
        chance = torch_stream(self._view.seed, "release", self._view.tier, *path)
        with isolated(self._view.seed, "release", self._view.tier, *path):
            programs = [self._program(turn, *path) for turn in range(SECRETS)]
            parts = []
            for turn, batch in enumerate(batches_of(len(images), self._size, chance)):
                program = programs[turn % SECRETS]
                own = images[batch].to(program.device)
                sent_labels, number = program.sent_labels(labels[batch]), self._numbers[turn % len(self._numbers)]
                sent = program.release(own, sent_labels, number)
                parts.append((sent, sent_labels, torch.full_like(sent_labels, number), own))
        return ReleasedImages(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

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


def batch_numbers(group: Sequence[Seen]) -> Sequence[int]:
    """Return the numbers of the batches of clients' rounds, each once, ascending: a defense may go by them."""
    return sorted({batch.batch for seen in group for batch in seen.batches})


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
