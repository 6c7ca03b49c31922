"""Search for the images that explain several releases of them at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.feature_matching import Matching, descend
from dtfl_private.attacks.shared.linking import LinkedReleases, Links, Release, turned
from dtfl_private.protection.release_reading import Reading, evidence, misfit

Programs = Callable[[int], Sequence[ClientProgram]]
"""From the number of a batch to the programs that may have sent it: one for each guess at the client's weights then."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A batch, or those of its records that count.

    Attributes:
        program: that sent it.
        reading: of what was sent (B, *cut shape).
        places: (B,) of its records among all images searched for.
        mirrored: (B,) whether each is flipped in it.
    """

    program: ClientProgram
    reading: Reading
    places: Tensor
    mirrored: Tensor

    def misfits(self, images: Tensor) -> Tensor:
        """Return how badly images, of all that are searched for, explain the batch (B,)."""
        return misfit(self.reading, self.program.expected(turned(images[self.places], self.mirrored)))


class JointSearch:
    """Images (N, C, H, W) of linked records that maximise the sum of the log-likelihoods of all releases of them.

    That of a release is by the client's weights and what its defenses let show (`Reading`). Where the images of a batch
    are coupled, as by batch norm in training mode or by means that are sent of several records, or a defense may go by
    the row within it, whole batches are explained: the records in them that are linked to none are searched for, too,
    from the images that they were decoded to.

    Args:
        linked: the releases.
        programs: that sent each of them. Of several for a batch, that one is taken to which the start is likeliest.
        start: images (N, C, H, W) of the records.
    """

    def __init__(self, linked: LinkedReleases, programs: Sequence[Programs], start: Tensor) -> None:
        self._count = len(start)
        self._start = start
        self._parts: list[_Part] = []
        for release, links, sent_by in zip(linked.releases, linked.links, programs, strict=True):
            self._add_release(release, links, sent_by)
        self._weights = [evidence(part.reading).to(start) for part in self._parts]
        self._total = self._added_up(self._weights)

    def _add_release(self, release: Release, links: Links, sent_by: Programs) -> None:
        """Add the batches of a release that records were found in."""
        there = links.places[links.found]
        records = torch.full_like(release.labels, -1)  # of each row; -1 if it is of none of them
        records[there] = links.found.nonzero().flatten()
        mirrored = torch.zeros_like(records, dtype=torch.bool)
        mirrored[there] = links.mirrored[links.found]
        for number in torch.unique(release.batches[there]).tolist():
            guesses = sent_by(number)
            rows = release.batches == number
            in_groups = guesses[0].read(release.smashed[rows]).groups is not None
            if not in_groups and not guesses[0].rewrites and not _couples(guesses[0], self._start):
                rows = rows & (records >= 0)
            places, unknown = records[rows], records[rows] < 0
            places[unknown] = len(self._start) + torch.arange(int(unknown.sum()), device=places.device)
            self._start = torch.cat([self._start, release.images[rows][unknown]])
            sent_by_each = [program.sending(release.labels[rows], number) for program in guesses]
            self._add(sent_by_each, release.smashed[rows], places, mirrored[rows])

    def _add(self, guesses: Sequence[ClientProgram], smashed: Tensor, places: Tensor, mirrored: Tensor) -> None:
        parts = [
            _Part(program=program, reading=program.read(smashed), places=places, mirrored=mirrored)
            for program in guesses
        ]
        with torch.no_grad():
            self._parts.append(min(parts, key=lambda part: float(part.misfits(self._start).sum())))

    def found(self, matching: Matching, tick: Callable[[], None] = lambda: None) -> Tensor:
        """Return the images (N, C, H, W) that a search from the start finds."""
        return descend(lambda images, _: self._misfits(images), self._start, matching, tick)[: self._count]

    @property
    def start(self) -> Tensor:
        """The images (N, C, H, W) that the search starts from."""
        return self._start[: self._count]

    @torch.no_grad()
    def residuals(self, images: Tensor) -> Tensor:
        """Return how badly images (N, C, H, W) explain all releases of them (N,)."""
        return self._misfits(torch.cat([images, self._start[self._count :]]))[: self._count]

    def _misfits(self, images: Tensor) -> Tensor:
        """Return -2 log-likelihood, of each image, in all its releases, relative to what they show of it."""
        pairs = zip(self._parts, self._weights, strict=True)
        return self._added_up([part.misfits(images) * weight for part, weight in pairs]) / self._total

    def _added_up(self, values: Sequence[Tensor]) -> Tensor:
        """Return the sum for each image of values (B,) for the records of each part."""
        total = torch.zeros(len(self._start)).to(self._start)
        for part, own in zip(self._parts, values, strict=True):
            total = total.index_add(0, part.places, own)
        return total


@torch.no_grad()
def _couples(program: ClientProgram, images: Tensor) -> bool:
    """Whether what is sent of an image depends on the other images of its batch."""
    pairs = [torch.stack([images[0], other]) for other in (images[-1], 1 - images[-1])]
    first, second = (program.expected(pair)[0] for pair in pairs)
    return not torch.allclose(first, second, rtol=1e-3, atol=1e-4)
